"""Shortcut models: steps of several sizes, the large ones taught by two small ones (PAPER section 2; arXiv 2410.12557).

A velocity field ``s(x_t, t, d)`` says where a step of size d leads: ``x_{t+d} = x_t + d s(x_t, t, d)``; d = 0 stands
for the flow itself. Consistency asks ``s(x_t, t, 2d)`` to be the mean of two steps of size d.
"""

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

SMALLEST_STEP = 1 / 16
STEP_COUNTS = (16, 8, 4, 2, 1)  # 2d = 1 / count
CONSISTENCY_SHARE = 0.25  # of the utterances; the others train flow matching at d = 0

VelocityField = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class ConsistencyStep:
    """A step whose result two half steps teach. time: (B,) t. size: (B,) 2d; t and t + 2d are multiples of 2d."""

    time: Tensor
    size: Tensor

    @property
    def half_label(self) -> Tensor:
        """(B,) d that the network is told at the two half steps: 0 below the smallest step, where the flow teaches."""
        return torch.where(self.size <= SMALLEST_STEP, 0.0, self.size / 2)


def draw_step(uniform_size: Tensor, uniform_time: Tensor) -> ConsistencyStep:
    """Two (B,) in [0, 1) -> every 2d of {1/16 .. 1} as often, then every multiple t of it with t + 2d <= 1 as often."""
    counts = uniform_size.new_tensor(STEP_COUNTS)
    count = counts[(uniform_size.double() * len(STEP_COUNTS)).long()]
    return ConsistencyStep((uniform_time.double() * count).floor().float() / count, 1 / count)


@torch.no_grad()
def two_half_steps(
    velocity: VelocityField, x_t: Tensor, step: ConsistencyStep, impose: Callable[[Tensor], Tensor]
) -> Tensor:
    """``s_target = 1/2 s(x_t, t, d) + 1/2 s(x_{t+d}, t + d, d)``, without gradient: (B, T, kM).

    ``impose`` puts what is known (a clean prompt) back into x_{t+d}.
    """
    half = step.size / 2
    first = velocity(x_t, step.time, step.half_label)
    middle = impose(x_t + half[:, None, None] * first)
    return (first + velocity(middle, step.time + half, step.half_label)) / 2


def sampling_step_size(steps: int) -> float:
    """d for ``steps`` equal steps: 1 / steps where that size was trained, otherwise 0 with a warning."""
    if steps in STEP_COUNTS:
        return 1 / steps
    _warn_untrained_size(steps)
    return 0.0


@functools.cache
def _warn_untrained_size(steps: int) -> None:
    counts = ", ".join(map(str, sorted(STEP_COUNTS)))
    logging.warning(
        f"{steps} steps: a shortcut decoder knows steps for {counts}; it now follows the flow itself (d = 0)"
    )
