"""Reading and writing the small files of an evaluation directory."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from sitok_espnet.errors import SiTokError


def write_text(path: Path, content: str) -> None:
    """Write a file under a temporary name and move it into place: it is there whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(content, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    """Write indented JSON atomically; NaN is refused, because JSON has none."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> dict:
    """Read a JSON file.

    Raises:
        SiTokError: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SiTokError(f"{path} cannot be read ({error.strerror}): which step was to write it?") from error
    except ValueError as error:
        raise SiTokError(f"{path} is not valid JSON ({error}): remove it and run the step that writes it") from error


def write_table(path: Path, table: Mapping[str, str]) -> None:
    """Write ``key value`` lines sorted by key, Kaldi's way; an empty value leaves the key alone on its line."""
    write_text(path, "".join(f"{key} {table[key]}".rstrip() + "\n" for key in sorted(table)))


def read_transcripts(path: Path) -> dict[str, str]:
    """Kaldi's ``text``: utterance -> transcript, empty where the line has the id alone.

    Raises:
        SiTokError: missing file, or an utterance twice.
    """
    if not path.is_file():
        raise SiTokError(f"{path}: no such text file")
    transcripts: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        utterance, _, transcript = line.strip().partition(" ")
        if not utterance:
            continue
        if utterance in transcripts:
            raise SiTokError(f"{path}:{number}: utterance {utterance} occurs twice")
        transcripts[utterance] = transcript.strip()
    return transcripts


def read_languages(text_file: Path) -> dict[str, str]:
    """Kaldi's ``utt2lang`` beside a ``text``: utterance -> language code; empty where there is none."""
    path = text_file.with_name("utt2lang")
    return read_transcripts(path) if path.is_file() else {}
