"""Which probes a recipe trains and scores, where, and with which options: tasks x inputs x architectures."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.files import read_json, read_transcripts, write_text
from sitok_espnet.probes.card import CARD, INPUTS, InputCard
from sitok_espnet.probes.store import FeatureStore
from sitok_espnet.probes.tasks import ProbeTask, task_of

TRAIN, VALID, TEST = SETS = ("train", "valid", "test")
TARGET, TARGET_LIST, PIECES, TRIALS = "target", "targets.txt", "bpe.model", "trials"
DONE, OPTIONS = "train.done", "options.json"
# The arguments of a training that say where and how it runs, not what it is.
_NOT_OF_THE_PROBE = ("--ngpu", "--num_workers")


@dataclass(frozen=True)
class TaskFolder:
    """``dump/tasks/<name>`` (stage 3): task.json, targets.txt, maybe bpe.model and trials, <set>/target.

    group: the row of the table; several tasks may share one (the folds of a cross-validation).
    note: what a reader of its numbers must know.
    """

    name: str
    folder: Path
    task: ProbeTask
    group: str
    note: str

    @classmethod
    def read(cls, folder: Path) -> "TaskFolder":
        """SiTokError if stage 3 has not made it."""
        if not (folder / TARGET_LIST).is_file():
            raise SiTokError(f"{folder} is no finished task ({TARGET_LIST} is missing): run stage 3 first")
        content = read_json(folder / "task.json")
        name, kind = folder.name, content.get("kind", folder.name)
        return cls(name, folder, task_of(kind), content.get("group", name), content.get("note", ""))

    def targets(self, name: str) -> dict[str, str]:
        """utterance -> label or text of one set."""
        return read_transcripts(self.folder / name / TARGET)

    def digest(self, *names: str) -> str:
        """SHA-256 of what files of the folder hold; a file that a task of this kind does not have is none."""
        digest = hashlib.sha256()
        for path in (self.folder / name for name in names):
            content = path.read_bytes() if path.is_file() else b""
            digest.update(f"{path.relative_to(self.folder).as_posix()} {len(content)}\n".encode() + content)
        return digest.hexdigest()

    @property
    def training_digest(self) -> str:
        """Of what a probe is trained on: other after stages 1 to 3 made other sets, labels or text pieces."""
        return self.digest(f"{TRAIN}/{TARGET}", f"{VALID}/{TARGET}", TARGET_LIST, PIECES)

    @property
    def scored_digest(self) -> str:
        """Of what a score is made from."""
        return self.digest(f"{VALID}/{TARGET}", f"{TEST}/{TARGET}", TRIALS)


@dataclass(frozen=True)
class ProbeJob:
    """One training: a task, an input, an architecture (``probe``, a YAML) and its folder."""

    task: TaskFolder
    input: str
    probe: str
    config: Path
    features: Path
    folder: Path

    @property
    def title(self) -> str:
        return f"{self.task.name}, {self.input}, {self.probe}"

    def arguments(self, more: Sequence[str] = ()) -> list[str]:
        """Command line of probe_train."""
        task, card = self.task.folder, InputCard.read(self.features)
        words = ["--config", self.config, "--output_dir", self.folder, "--resume", "true"]
        words += ["--input_card", self.features / CARD, "--target_list", task / TARGET_LIST]
        words += ["--input_adapter", "tokens" if card.is_tokens else "frames"]
        if self.task.task.target == "text":
            words += ["--bpemodel", task / PIECES]
        for phase in (TRAIN, VALID):
            data = f"--{phase}_data_path_and_name_and_type"
            words += [data, f"{self.features / CARD},feats,probe_input", data, f"{task / phase / TARGET},target,text"]
            words += [f"--{phase}_shape_file", self.shape_file(phase)]
        return [str(word) for word in (*words, *more)]

    def shape_file(self, phase: str) -> Path:
        """``utterance T`` of the utterances of a phase."""
        return self.folder / "shapes" / phase

    def write_shapes(self) -> None:
        """The lengths by which ESPnet makes batches; SiTokError for an utterance without features or target."""
        store = FeatureStore(self.features)
        for phase in (TRAIN, VALID):
            targets = self.task.targets(phase)
            if missing := sorted(set(targets) - set(store)):
                raise SiTokError(
                    f"{self.task.folder / phase}: {len(missing)} utterances have no features in {self.features}, such "
                    f"as {missing[0]}: run stage 4 again"
                )
            # Unsorted batches, and equal lengths, follow this list: in the order of names a batch would be one speaker.
            order = sorted(targets, key=lambda utterance: hashlib.sha256(utterance.encode()).digest())
            lines = [f"{utterance} {store.num_frames(utterance)}\n" for utterance in order]
            write_text(self.shape_file(phase), "".join(lines))

    def fingerprint(self, more: Sequence[str] = ()) -> dict:
        """What a training must have in common with one that it resumes: input, configuration, options."""
        words, kept = list(more), []
        while words:
            word = words.pop(0)
            if word in _NOT_OF_THE_PROBE:
                words = words[1:]
            else:
                kept.append(word)
        card = InputCard.read(self.features)
        return {
            "model_hash": card.model_hash,
            "config": self.config.read_text(encoding="utf-8"),
            "options": kept,
            "targets": self.task.training_digest,
        }

    def check_fingerprint(self, more: Sequence[str] = ()) -> None:
        """Write it, or compare with the one that is there (SiTokError: another training is in this folder)."""
        path, wanted = self.folder / OPTIONS, self.fingerprint(more)
        if path.is_file():
            there = read_json(path)
            if different := [key for key in wanted if there.get(key) != wanted[key]]:
                raise SiTokError(
                    f"{self.folder} was trained with other {' and '.join(different)}: remove it to train again, or "
                    "keep both with another --expdir (and --dumpdir for another model)"
                )
        write_text(path, json.dumps(wanted, indent=1, ensure_ascii=False) + "\n")

    def check_trained_targets(self) -> None:
        """SiTokError if stages 1 to 3 have made other training or validation targets since the training."""
        path = self.folder / OPTIONS
        if not path.is_file() or read_json(path).get("targets") != self.task.training_digest:
            raise SiTokError(
                f"{self.folder} was not trained with the targets that {self.task.folder} has now: remove it and run "
                "stage 5 again"
            )


def find_config(probe: str, folders: Sequence[Path]) -> Path:
    """``<probe>.yaml`` in the first of the folders that has it."""
    for folder in folders:
        if (folder / f"{probe}.yaml").is_file():
            return folder / f"{probe}.yaml"
    raise SiTokError(f"no {probe}.yaml in {' or '.join(map(str, folders))}")


@dataclass(frozen=True)
class Places:
    """tasks: dump/tasks. features: dump/feats. configs: folders of YAMLs. experiments: exp."""

    tasks: Path
    features: Path
    configs: tuple[Path, ...]
    experiments: Path


def _check_one_tokenizer(cards: Sequence[InputCard]) -> None:
    for card in cards[1:]:
        for key in ("model_hash", "frame_rate"):
            one, other = getattr(cards[0], key), getattr(card, key)
            if one != other:
                raise SiTokError(
                    f"{cards[0].input} and {card.input} are not of one tokenizer: {key} {one} and {other}; give every "
                    "tokenizer its own --dumpdir and --expdir, and run stage 4 again"
                )


def plan(places: Places, tasks: Sequence[str], inputs: Sequence[str], probes: Sequence[str] = ()) -> list[ProbeJob]:
    """All jobs in a fixed order; ``probes`` overrides the architectures of the tasks.

    Raises:
        SiTokError: unknown inputs, inputs of different tokenizers, tasks that stage 3 has not made.
    """
    if unknown := sorted(set(inputs) - set(INPUTS)):
        raise SiTokError(f"no such input: {unknown[0]}; there are {', '.join(INPUTS)}")
    _check_one_tokenizer([InputCard.read(places.features / name) for name in inputs])
    jobs = []
    for name in tasks:
        folder = TaskFolder.read(places.tasks / name)
        for source in inputs:
            for probe in probes or folder.task.probes:
                experiment = places.experiments / f"probe_{name}_{source}" / probe
                config = find_config(probe, places.configs)
                jobs.append(ProbeJob(folder, source, probe, config, places.features / source, experiment))
    return jobs
