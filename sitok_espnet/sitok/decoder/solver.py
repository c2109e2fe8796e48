"""Euler's method from noise at t = 0 to the mel at t = 1, in equal steps (PAPER section 2, sampling)."""

from collections.abc import Callable

import torch
from torch import Tensor

Field = Callable[[Tensor, Tensor], Tensor]


def euler_velocity(field: Field, x: Tensor, steps: int) -> Tensor:
    """``x <- x + v(x, t) / steps`` from t = 0 to 1; ``field(x, t)`` takes t (B,)."""
    for step in range(steps):
        x = x + field(x, x.new_full((x.size(0),), step / steps)) / steps
    return x


def euler_x(field: Field, x: Tensor, steps: int) -> Tensor:
    """Euler with ``v = (x_hat - x) / (1 - t)``: each step goes ``1 / (steps - step)`` of the way; the last is x_hat."""
    for step in range(steps):
        estimate = field(x, x.new_full((x.size(0),), step / steps))
        x = torch.lerp(x, estimate, 1.0 / (steps - step))
    return x
