"""Reading and writing the two-column text files of ESPnet/Kaldi data directories, for all recipe scripts."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path

from sitok_espnet.errors import SiTokError


@contextmanager
def atomic_text(path: str | Path):
    """Open a text file for writing that appears under its own name only when the block ends without an error."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as out:
            yield out
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_table(path: str | Path, allow_empty_value: bool = False) -> dict[str, str]:
    """Read `key value...` lines in their order.

    Raises SiTokError for a missing file, a blank line, a key that occurs twice, or (unless `allow_empty_value`) a key
    without a value. An utterance without a transcript is a key alone on its line of `text`.
    """
    path = Path(path)
    if not path.is_file():
        raise SiTokError(f"{path} does not exist")
    table: dict[str, str] = {}
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            fields = line.strip().split(maxsplit=1)
            if not fields:
                raise SiTokError(f"{path}:{number}: blank line")
            key = fields[0]
            if key in table:
                raise SiTokError(f"{path}:{number}: the key {key!r} occurs twice")
            if len(fields) == 1 and not allow_empty_value:
                raise SiTokError(f"{path}:{number}: nothing follows the key {key!r}")
            table[key] = fields[1] if len(fields) == 2 else ""
    return table


def write_table(path: str | Path, table: Mapping[str, object]) -> None:
    """Write `key value` lines sorted by key in code-point order (LC_ALL=C), atomically; of an empty value the key."""
    with atomic_text(path) as out:
        for key in sorted(table):
            out.write(f"{key} {table[key]}".rstrip() + "\n")


def speaker_to_utterances(utt2spk: Mapping[str, str]) -> dict[str, str]:
    """Invert utt2spk: speaker -> its utterance ids, sorted, separated by spaces."""
    inverse: dict[str, list[str]] = {}
    for utterance in sorted(utt2spk):
        inverse.setdefault(utt2spk[utterance], []).append(utterance)
    return {speaker: " ".join(utterances) for speaker, utterances in inverse.items()}


def write_data_dir(
    directory: str | Path,
    wav_scp: Mapping[str, str],
    utt2spk: Mapping[str, str],
    text: Mapping[str, str] | None = None,
    keep: Iterable[str] | None = None,
    utt2lang: Mapping[str, str] | None = None,
) -> int:
    """Write wav.scp, utt2spk, spk2utt and, when given, text and utt2lang; `keep` restricts them to some ids.

    A text or utt2lang of an earlier run that is not given now is removed. Returns the number of utterances.
    """
    directory = Path(directory)
    ids = sorted(wav_scp if keep is None else keep)
    speakers = {i: utt2spk[i] for i in ids}
    write_table(directory / "utt2spk", speakers)
    write_table(directory / "spk2utt", speaker_to_utterances(speakers))
    for name, table in (("text", text), ("utt2lang", utt2lang)):
        if table is not None:
            write_table(directory / name, {i: table[i] for i in ids})
        else:
            (directory / name).unlink(missing_ok=True)
    write_table(directory / "wav.scp", {i: wav_scp[i] for i in ids})  # last: what later stages look for
    return len(ids)
