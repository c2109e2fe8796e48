"""Measurements on disk, which every evaluation that names the same file shares (ours).

One JSON line each, keyed by what was heard and by which metric: originals, copy synthesis and other codecs are measured
once for all experiments of a recipe. Lines are only ever added, whole and under a lock, so that several runs may write
at once and an interrupted one loses nothing.
"""

import fcntl
import json
import logging
import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from sitok_espnet.evaluate.metrics.abs_metric import KEY_LENGTH, Measurement

CACHE = "scores.jsonl"
_MEASURED = tuple(field.name for field in fields(Measurement))
_START = '{"key": "'  # of every line: other keys are passed over without being parsed


@dataclass(frozen=True)
class Entry:
    """A line: the measurement that a key stands for; utterance and metric are for people who read the file.

    ``lasting``: False for what other options would have made an error: it is not written.
    """

    key: str
    utterance: str
    metric: str
    measurement: Measurement
    lasting: bool = True


class ScoreCache:
    """A file of measurements.

    Args:
        path: where it is, or will be.
    """

    def __init__(self, path: Path):
        self.path = path

    def read(self, keys: Collection[str]) -> dict[str, Measurement]:
        """The measurements of these keys that are there; damaged lines are passed over with a warning."""
        found: dict[str, Measurement] = {}
        if not self.path.is_file():
            return found
        end = len(_START) + KEY_LENGTH
        with open(self.path, encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith(_START) and line[len(_START) : end] not in keys:
                    continue
                try:
                    entry = json.loads(line)
                    found[entry["key"]] = Measurement(*(entry[part] for part in _MEASURED))
                except (ValueError, KeyError, TypeError):
                    logging.warning("%s: a damaged line is ignored and measured again", self.path)
        return found

    def add(self, entries: Iterable[Entry]) -> None:
        """Append lines at once. NaN stays NaN (Python's JSON dialect)."""
        lines = [
            {"key": entry.key, "utterance": entry.utterance, "metric": entry.metric} | asdict(entry.measurement)
            for entry in entries
            if entry.lasting
        ]
        data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
        if not data:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a+b", buffering=0) as file:
            with suppress(OSError):  # a file system without locks: whole lines in one write must do
                fcntl.flock(file, fcntl.LOCK_EX)
            if file.seek(0, os.SEEK_END) and _last_byte(file) != b"\n":
                data = b"\n" + data  # the machine went down while the last line was written
            file.write(data)


def _last_byte(file) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read(1)
