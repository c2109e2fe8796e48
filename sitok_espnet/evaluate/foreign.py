"""Anybody's audio as an evaluation directory: the originals and any number of systems, checked and made comparable.

No tokenizer is involved: ``<dir>/original`` becomes a data directory (wav.scp and, where given, text, utt2spk,
utt2lang), ``<dir>/<NAME>/wav.scp`` lists a system's audio. Files are listed where they are; only what has to be
changed (another sampling rate, another length) is written, under ``<dir>/<NAME>/wav``.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from sitok_espnet.audio import resample, write_audio
from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.files import read_transcripts, write_table
from sitok_espnet.evaluate.own_files import check_inputs_survive, claim, input_files
from sitok_espnet.evaluate.score_cache import CACHE
from sitok_espnet.evaluate.synthesis import CLIPPED, SOURCE_RATE, TOKENIZER
from sitok_espnet.evaluate.voice_results import EMBEDDINGS
from sitok_espnet.evaluate.write import PAGE, RESULTS, TRANSCRIPTS
from sitok_espnet.inputs import AudioInput, collect_inputs, is_ark_entry

ORIGINAL = "original"
RESAMPLED_RATE = 24000  # Hz: what every recipe works at, and the only rate of the mel distance
ROUNDING = 2  # samples by which converting a rate may change a length
TABLES = ("text", "utt2spk", "utt2lang")
OWN_PAGES = (RESULTS, PAGE, TRANSCRIPTS, CACHE)
ROW_FILES = ("wav.scp", CLIPPED, SOURCE_RATE, EMBEDDINGS)  # of every row, besides changed audio
RESERVED = {ORIGINAL, "spectrograms", "steps", "versa"}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]*")
EXAMPLES = 3


@dataclass(frozen=True)
class Options:
    """How audio is made comparable.

    Attributes:
        resample: convert everything to RESAMPLED_RATE; else all audio must have one rate, whatever it is.
        fit_length: cut a system's audio at the end, or pad it with zeros, to its original's length (codecs round up to
            whole frames); else lengths stay, and metrics that compare sample by sample leave out what differs.
    """

    resample: bool = False
    fit_length: bool = False


@dataclass(frozen=True)
class Prepared:
    """What was found: the systems' names in order, the rate at which everything is compared, changed files a system."""

    systems: tuple[str, ...]
    sample_rate: int
    changed: Mapping[str, int]


def parse_hypotheses(words: Sequence[str]) -> dict[str, str]:
    """``NAME=PATH`` or ``PATH`` (called after its folder or file) -> name -> path, in order.

    Raises:
        SiTokError: a name that cannot be a folder's, is taken, or occurs twice.
    """
    systems: dict[str, str] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or "/" in name:  # a path may have = in it
            path = word
            place = Path(word).resolve()
            place = place.parent if place.suffix == ".scp" else place
            name = (place.name if place.is_dir() else place.stem).replace(" ", "_")
        if not path or not NAME.fullmatch(name):
            raise SiTokError(f"--hyp {word}: expected NAME=PATH with a name of letters, digits and . - + _")
        if name in RESERVED:
            raise SiTokError(f"--hyp {word}: the name {name} is taken: choose another one, --hyp NAME={path}")
        if name in systems:
            raise SiTokError(
                f"--hyp {word}: {name} is there already ({systems[name]}): give each a name, --hyp NAME=PATH"
            )
        systems[name] = path
    return systems


def prepare(
    reference: str,
    systems: Mapping[str, str],
    output: Path,
    tables: Mapping[str, Path | None] | None = None,
    options: Options = Options(),
) -> Prepared:
    """Fill an evaluation directory; nothing is written before ids, rates and tables have been checked.

    Args:
        reference: audio files, a directory or an scp with the originals.
        systems: name -> the same of each system.
        output: evaluation directory; one that a tokenizer's stage 8 made is refused.
        tables: text, utt2spk, utt2lang -> file or None; may have more utterances than are compared.
        options: see Options.

    Raises:
        SiTokError: missing, extra or doubled ids, mixed rates, unreadable audio, a table without an utterance, inputs
            that lie where the evaluation is written.
    """
    if (output / TOKENIZER).exists():
        raise SiTokError(f"-o {output} is the evaluation of a tokenizer (stage 8): choose another directory")
    originals = _by_id([reference], "--ref")
    audio = {name: _by_id([path], f"--hyp {name}") for name, path in systems.items()}
    for name, items in audio.items():
        _same_ids(originals, items, f"--hyp {name}")
    wanted = {name: _table(path, name, originals) for name, path in (tables or {}).items() if path is not None}
    everything = {ORIGINAL: originals, **audio}
    signals = {name: _lengths(items, name) for name, items in everything.items()}
    rate = RESAMPLED_RATE if options.resample else _one_rate(signals)

    lengths = {utt: _resampled_length(*signals[ORIGINAL][utt], rate) for utt in originals}
    plans = {name: _changes(signals[name], rate, lengths if name != ORIGINAL else {}, options) for name in everything}
    given = [reference, *systems.values(), *(path for path in (tables or {}).values() if path is not None)]
    inputs = input_files(given, (item for items in everything.values() for item in items.values()))
    check_inputs_survive(output, everything, inputs)
    files = [Path(name, file) for name in everything for file in ROW_FILES]
    files += [Path(name, "wav", f"{utt}.wav") for name, plan in plans.items() for utt in plan]
    files += [Path(ORIGINAL, name) for name in TABLES] + [Path(name) for name in OWN_PAGES]
    claim(output, files, {"systems": list(everything), "sample_rate": rate})
    for name, items in everything.items():
        _write_row(output / name, items, plans[name], rate)
    for name, content in wanted.items():
        write_table(output / ORIGINAL / name, content)
    return Prepared(tuple(everything), rate, {name: len(plan) for name, plan in plans.items()})


def _by_id(paths: Sequence[str], option: str) -> dict[str, AudioInput]:
    try:
        return {item.utt: item for item in collect_inputs(paths)}
    except SiTokError as error:
        raise SiTokError(f"{option}: {error}") from error


def _same_ids(originals: Mapping[str, AudioInput], items: Mapping[str, AudioInput], option: str) -> None:
    missing, extra = sorted(originals.keys() - items.keys()), sorted(items.keys() - originals.keys())
    problems = (
        [f"{len(missing)} of {len(originals)} originals have no audio there, {_some(missing)}"] if missing else []
    )
    problems += [f"{len(extra)} have no original, {_some(extra)}"] if extra else []
    if problems:
        raise SiTokError(
            f"{option}: {'; '.join(problems)}: the identifiers must be those of --ref (a file's is its name without "
            "suffix, in a directory its path below it with - for /; a wav.scp gives any)"
        )


def _some(identifiers: Sequence[str]) -> str:
    more = len(identifiers) - EXAMPLES
    return "such as " + ", ".join(identifiers[:EXAMPLES]) + (f" and {more} more" if more > 0 else "")


def _table(path: Path, name: str, originals: Mapping[str, AudioInput]) -> dict[str, str]:
    table = read_transcripts(path)
    # An utterance may have no transcript (its id alone); it must have a line, or the ids are of another set.
    if missing := sorted(originals.keys() - table.keys()):
        raise SiTokError(
            f"--{name} {path}: {len(missing)} of {len(originals)} utterances are not in it, {_some(missing)}"
        )
    return {utt: table[utt] for utt in originals}


def _lengths(items: Mapping[str, AudioInput], name: str) -> dict[str, tuple[int, int]]:
    """utterance -> samples, rate; reads everything once, so that bad audio is found before anything is written."""
    found = {}
    for utt, item in tqdm(items.items(), desc=f"reading {name}", unit="utt", mininterval=1.0):
        wav, rate = item.read()
        found[utt] = (len(wav), rate)
    return found


def _one_rate(signals: Mapping[str, Mapping[str, tuple[int, int]]]) -> int:
    rates: dict[int, str] = {}
    for name, lengths in signals.items():
        for utt, (_, rate) in lengths.items():
            rates.setdefault(rate, f"{utt} of {name}")
    if len(rates) > 1:
        found = ", ".join(f"{rate} Hz ({example})" for rate, example in sorted(rates.items()))
        raise SiTokError(f"different sampling rates: {found}: --resample converts everything to {RESAMPLED_RATE} Hz")
    return next(iter(rates))


def _resampled_length(samples: int, rate: int, new_rate: int) -> int:
    return -(-samples * new_rate // rate)


def _changes(
    signals: Mapping[str, tuple[int, int]], rate: int, targets: Mapping[str, int], options: Options
) -> dict[str, int]:
    """Utterances that cannot stay as they are -> their new number of samples, at ``rate``."""
    changes = {}
    for utt, (samples, own_rate) in signals.items():
        length = _resampled_length(samples, own_rate, rate)
        target = targets.get(utt, length)
        # Converting a rate may round a length up where the original's was rounded down.
        fits = options.fit_length or (own_rate != rate and abs(target - length) <= ROUNDING)
        target = target if fits else length
        if own_rate != rate or target != samples:
            changes[utt] = target
    return changes


def _write_row(folder: Path, items: Mapping[str, AudioInput], changes: Mapping[str, int], rate: int) -> None:
    """wav.scp of one system, with what must be changed written beside it."""
    locations, clipped, converted = {}, {}, {}
    for utt, item in items.items():
        if utt not in changes:
            locations[utt] = item.location if is_ark_entry(item.location) else str(Path(item.location).resolve())
            continue
        wav, own_rate = item.read()
        if own_rate < rate:
            converted[utt] = str(own_rate)
        wav = resample(wav, own_rate, rate)[: changes[utt]]
        path = folder / "wav" / f"{utt}.wav"
        if count := write_audio(path, np.pad(wav, (0, changes[utt] - len(wav))), rate):
            clipped[utt] = str(count)
        locations[utt] = str(path)
    for name, table in ((CLIPPED, clipped), (SOURCE_RATE, converted)):
        if table:
            write_table(folder / name, table)
    write_table(folder / "wav.scp", locations)
