"""Gather what experiments, evaluations and probes left on disk; nothing is computed or drawn here."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.files import read_json, read_transcripts
from sitok_espnet.evaluate.page.training import Curves, read_curves
from sitok_espnet.evaluate.plots import median_utterances
from sitok_espnet.evaluate.synthesis import TOKENIZER, TOKENS
from sitok_espnet.evaluate.write import RESULTS, TRANSCRIPTS
from sitok_espnet.inputs import AudioInput, is_ark_entry, read_scp

STEPS = "steps/steps.json"
ORIGINAL = "original"


@dataclass(frozen=True)
class Take:
    """One utterance by one system.

    Attributes:
        row: key of the system.
        audio: its audio, or None.
        missing: why there is none.
        measured: metric -> what results.json has of it.
    """

    row: str
    audio: AudioInput | None
    missing: str
    measured: Mapping[str, Mapping]


@dataclass(frozen=True)
class Utterance:
    """A test utterance to listen to; ``text`` is None where there is no transcript."""

    name: str
    text: str | None
    takes: tuple[Take, ...]


@dataclass(frozen=True)
class Evaluation:
    """A scored test set.

    Attributes:
        name: of the set.
        system: name of the experiment it is of, or of the directory.
        directory: where it is.
        results: results.json.
        utterances: those to listen to.
        silence: why there is nothing to listen to; empty where there is.
        counts: uses of each code in the test set, an array (size,) a codebook; empty where there are no tokens.
        steps: steps.json, or None.
    """

    name: str
    system: str
    directory: Path
    results: Mapping
    utterances: tuple[Utterance, ...] = ()
    silence: str = ""
    counts: tuple[np.ndarray, ...] = ()
    steps: Mapping | None = None


@dataclass(frozen=True)
class Experiment:
    """A training.

    Attributes:
        name: of its directory.
        config: config.yaml, without its list of text pieces.
        command: what started it, or empty.
        curves: what was logged, or None.
        no_curves: why there are none.
    """

    name: str
    config: str
    command: str
    curves: Curves | None
    no_curves: str = ""


@dataclass(frozen=True)
class ProbeResults:
    """A table of probes.

    Attributes:
        name: where it is, as far as it tells tables apart: "exp/probes".
        results: results.json.
    """

    name: str
    results: Mapping


@dataclass(frozen=True)
class Collection:
    """Everything on the page, in the order of the arguments."""

    evaluations: tuple[Evaluation, ...] = ()
    experiments: tuple[Experiment, ...] = ()
    probes: tuple[ProbeResults, ...] = field(default=())


def collect(paths: Sequence[Path | str], utterances: int = 5) -> Collection:
    """Experiment directories (all test sets in their ``eval/``), evaluation directories and probe tables.

    Args:
        paths: directories, or the results.json in one.
        utterances: to listen to, shared among the test sets, at least one each; 0 for none.

    Raises:
        SiTokError: a path that is none of them; damaged files.
    """
    if utterances < 0:
        raise SiTokError(f"--utterances must not be negative, got {utterances}")
    scored: dict[Path, tuple[Path, Mapping]] = {}  # a directory counts once, whatever it is called
    probes: dict[Path, Mapping] = {}
    for path in map(Path, paths):
        for file in _find_results(path):
            content = read_json(file)
            if isinstance(content, dict) and isinstance(content.get("systems"), dict):
                scored.setdefault(file.parent.resolve(), (file.parent, content))
            elif isinstance(content, dict) and isinstance(content.get("tasks"), dict):
                probes.setdefault(file.parent.resolve(), content)
            else:
                raise SiTokError(f"{file} has neither systems nor probe tasks: it is of another program")
    experiments = {experiment: None for folder in scored if (experiment := _experiment_of(folder))}
    shares = _share(utterances, len(scored))
    return Collection(
        tuple(_evaluation(*item, count) for item, count in zip(scored.values(), shares, strict=True)),
        tuple(map(_experiment, experiments)),
        tuple(ProbeResults("/".join(folder.parts[-2:]), content) for folder, content in probes.items()),
    )


def _find_results(path: Path) -> list[Path]:
    if path.is_file() and path.name == RESULTS:
        return [path]
    if (path / RESULTS).is_file():
        return [path / RESULTS]
    found = sorted(path.glob(f"eval/*/{RESULTS}"))
    if not found:
        raise SiTokError(
            f"{path}: no {RESULTS} here and none in eval/*/: give an experiment after stage 8, a directory that "
            "`sitok eval` wrote, or a table of probes"
        )
    return found


def _share(count: int, sets: int) -> list[int]:
    """5 over 2 sets: 3 and 2; over 7: 1 each."""
    return [max(count // sets + (index < count % sets), min(count, 1)) for index in range(sets)]


def _experiment_of(folder: Path) -> Path | None:
    """``exp/sitok_x/eval/test`` -> ``exp/sitok_x``, if a training is there."""
    folder = folder.resolve()
    experiment = folder.parent.parent
    return experiment if folder.parent.name == "eval" and (experiment / "config.yaml").is_file() else None


def _evaluation(folder: Path, results: Mapping, count: int) -> Evaluation:
    experiment = _experiment_of(folder)
    name = folder.resolve().name
    texts = read_transcripts(folder / TRANSCRIPTS) if (folder / TRANSCRIPTS).is_file() else {}
    steps = folder / STEPS
    chosen, silence = _listen(folder, results, texts, count)
    return Evaluation(
        name=name,
        system=experiment.name if experiment else name,
        directory=folder,
        results=results,
        utterances=chosen,
        silence=silence,
        counts=_code_counts(folder),
        steps=read_json(steps) if steps.is_file() else None,
    )


def _listen(folder: Path, results: Mapping, texts: Mapping, count: int) -> tuple[tuple[Utterance, ...], str]:
    """Utterances of medium length, by length alone: nobody's best."""
    if not count:
        return (), "no utterances were asked for (--utterances 0)"
    lists = {row: _audio_of(folder / row) for row, content in results["systems"].items() if _has_run(content)}
    if not lists:
        return (), "no system was run"
    first = sorted(lists, key=lambda row: row != ORIGINAL)  # the others in their order
    there = ([item for item in lists[row].values() if _exists(item)] for row in first)
    here = next((items for items in there if items), [])
    if not here:
        reason = f"there is no audio in {folder / first[0]}" + (" nor of the other systems" if len(first) > 1 else "")
        logging.warning("%s: %s", folder, reason)
        return (), reason
    utterances = []
    for item in median_utterances(here, min(count, len(here))):
        takes = []
        for row, audio in lists.items():
            measured = results["systems"][row].get("utterances", {}).get(item.utt, {})
            found = audio.get(item.utt)
            missing = "" if found and _exists(found) else f"no audio of {item.utt} in {folder / row}"
            if missing:
                logging.warning("%s", missing)
            takes.append(Take(row, None if missing else found, missing, measured))
        utterances.append(Utterance(item.utt, texts.get(item.utt) or None, tuple(takes)))
    return tuple(utterances), ""


def _has_run(content: Mapping) -> bool:
    return content.get("status") != "not run"


def _audio_of(folder: Path) -> dict[str, AudioInput]:
    """The audio of a row; a copied or moved evaluation directory has its own beside wav.scp."""
    if not (folder / "wav.scp").is_file():
        return {}
    items = {}
    for item in read_scp(folder / "wav.scp"):
        own = folder.joinpath(*Path(item.location).parts[-2:])
        its_own = Path(item.location).parts[-3:-1] == (folder.name, "wav") and own.is_file()
        items[item.utt] = AudioInput(item.utt, str(own)) if its_own else item
    return items


def _exists(item: AudioInput) -> bool:
    return is_ark_entry(item.location) or Path(item.location).is_file()


def _code_counts(folder: Path) -> tuple[np.ndarray, ...]:
    if not (folder / TOKENS).is_file() or not (folder / TOKENIZER).is_file():
        return ()
    sizes = read_json(folder / TOKENIZER)["codebook_sizes"]
    codes = [np.array(item, dtype=np.int64).reshape(-1, len(sizes)) for item in read_json(folder / TOKENS).values()]
    everything = np.concatenate(codes)
    return tuple(np.bincount(everything[:, layer], minlength=size) for layer, size in enumerate(sizes))


def _experiment(folder: Path) -> Experiment:
    try:
        curves, reason = read_curves(folder / "tensorboard"), ""
    except SiTokError as error:
        curves, reason = None, str(error)
    config = (folder / "config.yaml").read_text(encoding="utf-8", errors="replace")
    return Experiment(folder.name, _without_pieces(config), _command(folder / "train.log"), curves, reason)


def _without_pieces(config: str) -> str:
    """config.yaml without the hundreds of lines of ``token_list``."""
    lines, skipped, inside = [], 0, False
    for line in config.splitlines():
        inside = line.startswith("token_list:") or (inside and line.startswith("-"))
        if inside and line.startswith("-"):
            skipped += 1
            continue
        if skipped:
            lines.append(f"# {skipped} text pieces")
            skipped = 0
        lines.append(line)
    return "\n".join([*lines, *([f"# {skipped} text pieces"] if skipped else [])])


def _command(log: Path) -> str:
    """The first line of a log of the recipe: the command that it is of, without the interpreter's path."""
    if not log.is_file():
        return ""
    with open(log, encoding="utf-8", errors="replace") as file:
        mark, _, words = file.readline().strip().partition(" -m ")
    return f"python3 -m {words}" if mark.startswith("# ") and words else ""
