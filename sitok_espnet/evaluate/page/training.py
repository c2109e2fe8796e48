"""Loss curves of an experiment, from the event files that ESPnet's trainer writes for TensorBoard."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sitok_espnet.errors import SiTokError


@dataclass(frozen=True)
class Series:
    """One quantity over training: steps (P,) and values (P,), in order of steps; not finite values are left out."""

    steps: np.ndarray
    values: np.ndarray

    def thinned(self, most: int) -> "Series":
        """Means over equally many neighbours, at most ``most`` of them."""
        if len(self.steps) <= most:
            return self
        parts = [np.array_split(array, most) for array in (self.steps, self.values)]
        return Series(*(np.array([part.mean() for part in halves]) for halves in parts))


@dataclass(frozen=True)
class Curves:
    """What was logged: quantity -> Series, of training (means over some steps) and validation (epochs)."""

    train: dict[str, Series]
    valid: dict[str, Series]


def read_curves(folder: Path) -> Curves:
    """Read ``<folder>/{train,valid}/events.*``; a resumed training has several files.

    Raises:
        SiTokError: there are none.
    """
    parts = {name: _read_events(folder / name) for name in ("train", "valid")}
    if not any(parts.values()):
        raise SiTokError(f"no event files in {folder}: train with use_tensorboard: true (stage 5)")
    return Curves(**parts)


def _read_events(folder: Path) -> dict[str, Series]:
    if not any(folder.glob("events.*")):
        return {}
    # Its messages are about its own file watching.
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={SCALARS: 0})  # 0: all of them
    events.Reload()
    series = {}
    for tag in sorted(events.Tags()[SCALARS]):
        last = {event.step: event.value for event in events.Scalars(tag)}  # a repeated step: the later run counts
        steps = np.array(sorted(step for step in last if np.isfinite(last[step])), dtype=np.int64)
        if len(steps):
            series[tag] = Series(steps, np.array([last[step] for step in steps.tolist()], dtype=np.float64))
    return series
