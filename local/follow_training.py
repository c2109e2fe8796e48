#!/usr/bin/env python3
"""Show a training while it runs: a line on the terminal for every epoch that ESPnet writes into its log.

usage: follow_training.py LOG [PID [EARLIER]]

EARLIER is device:inode (`stat -c %d:%i`) of a LOG that was there before and is not followed: the launcher renames it.
Ends at the end of the log, as soon as it is asked to (SIGTERM) or process PID (the recipe) is gone. Only the standard
library: it starts at once and costs nothing beside a training.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

STARTED = re.compile(r"(\d+)/(\d+)epoch started")
RESULTS = re.compile(r"(\d+)epoch results: (.*)")
STAMP = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+")
NUMBER = re.compile(r"(\w+)=(-?[0-9.]+(?:e[+-]?\d+)?|nan|inf)(?:,|$| )")
LOSSES = ("loss_decoder", "loss_ctc")  # shown where there are any, else the loss


@dataclass(frozen=True)
class Epoch:
    """train, valid: means over the epoch, by name. seconds: of the epoch by the clock, None where it is unknown."""

    number: int
    last: int
    train: dict[str, float]
    valid: dict[str, float]
    seconds: float | None

    def line(self) -> str:
        """As the terminal shows it."""
        names = [name for name in LOSSES if name in self.train] or ["loss"]
        parts = [self._loss(name) for name in names if name in self.train]
        used = [value for name, value in self.train.items() if name.startswith("perplexity")]
        if used:
            parts.append(f"codes in use {sum(used) / len(used):.0f} (perplexity)")
        if self.seconds is not None:
            parts += [f"{self.seconds:.0f} s", f"{_span(self.seconds * (self.last - self.number))} left"]
        return f"epoch {self.number}/{self.last}  " + "  ".join(parts)

    def _loss(self, name: str) -> str:
        valid = f" (dev {self.valid[name]:.3f})" if name in self.valid else ""
        return f"{name.removeprefix('loss_')} {self.train[name]:.3f}{valid}"


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


class Reader:
    """Lines of ESPnet's log to epochs."""

    def __init__(self) -> None:
        self._last = 0
        self._began: dict[int, datetime] = {}

    def read(self, line: str) -> Epoch | None:
        """An epoch, if this line has its results."""
        stamp = STAMP.search(line)
        now = datetime.fromisoformat(stamp[1]) if stamp else None
        if started := STARTED.search(line):
            self._last = int(started[2])
            if now:
                self._began[int(started[1])] = now
        if not (results := RESULTS.search(line)):
            return None
        number, values = int(results[1]), {"train": {}, "valid": {}}
        for part in re.split(r"(?=\[\w+\] )", results[2]):
            if (name := re.match(r"\[(\w+)\] ", part)) and name[1] in values:
                values[name[1]] = {key: float(value) for key, value in NUMBER.findall(part)}
        began = self._began.get(number)
        seconds = (now - began).total_seconds() if now and began else None
        return Epoch(number, max(self._last, number), values["train"], values["valid"], seconds)


def alive(pid: int) -> bool:
    """Whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def identity(path: Path) -> str:
    """device:inode of a file, empty if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return ""
    return f"{found.st_dev}:{found.st_ino}"


def lines_of(path: Path, goes_on: Callable[[], bool], earlier: str = "", pause: float = 0.5) -> Iterator[str]:
    """Whole lines of a file other than ``earlier``, from its beginning; its end is the end once nothing ``goes_on``."""
    while identity(path) in ("", earlier):
        if not goes_on():
            return
        time.sleep(pause)
    with open(path, encoding="utf-8", errors="replace") as file:
        held = ""
        while True:
            more = goes_on()  # asked before the file is read: what was written until then is seen
            held += file.readline()
            if held.endswith("\n"):
                yield held
                held = ""
            elif not more:
                return
            else:
                time.sleep(pause)


def main(arguments: list[str]) -> int:
    """Entry point."""
    if len(arguments) not in (1, 2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    reader, asked = Reader(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: asked.set())

    def goes_on() -> bool:
        return not asked.is_set() and (len(arguments) == 1 or alive(int(arguments[1])))

    for line in lines_of(Path(arguments[0]), goes_on, *arguments[2:]):
        if epoch := reader.read(line):
            print(epoch.line(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
