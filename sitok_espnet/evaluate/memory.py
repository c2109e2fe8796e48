"""A small memory for the metrics: every system of an utterance has the same reference."""

import functools
import hashlib
from collections.abc import Callable
from typing import TypeVar

import numpy as np

Result = TypeVar("Result")


def remember_last(function: Callable[[np.ndarray], Result], size: int = 4) -> Callable[[np.ndarray], Result]:
    """Remember the last ``size`` results of a function of one array."""
    memory: dict[bytes, Result] = {}

    @functools.wraps(function)
    def wrapped(array: np.ndarray) -> Result:
        key = hashlib.sha256(np.ascontiguousarray(array).tobytes()).digest()
        if key not in memory:
            while len(memory) >= size:
                memory.pop(next(iter(memory)))
            memory[key] = function(array)
        return memory[key]

    return wrapped
