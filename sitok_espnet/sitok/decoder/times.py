"""Densities of the diffusion time in training (PAPER section 2 has the uniform one)."""

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

LARGEST = 1 - 1e-6  # a time of 1 has no remaining time to divide by
TIME_SAMPLING = ("uniform", "logit_normal")


class TimeDensity(Protocol):
    """Turns uniform numbers into times, in order, so that stratified numbers stay stratified."""

    def quantile(self, uniform: Tensor) -> Tensor:
        """(B,) in [0, 1) -> times (B,) in [0, 1)."""
        ...


@dataclass(frozen=True)
class UniformTimes:
    """``t ~ U(0, 1)``, the paper's."""

    def quantile(self, uniform: Tensor) -> Tensor:
        """The numbers themselves."""
        return uniform


@dataclass(frozen=True)
class LogitNormalTimes:
    """``logit(t) ~ N(mean, std^2)`` (arXiv 2403.03206; mean and std -0.8 and 0.8 in arXiv 2511.13720).

    A negative mean draws more times near the noise (t = 0).

    Raises:
        ValueError: values that are no finite numbers, or a std that is not positive.
    """

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self):
        for name in ("mean", "std"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"decoder_conf time_{name} must be a finite number, got {value!r}")
        if self.std <= 0:
            raise ValueError(f"decoder_conf time_std must be positive, got {self.std!r}")

    def quantile(self, uniform: Tensor) -> Tensor:
        """``sigmoid(mean + std * Phi^-1(u))``, computed in float64."""
        inside = uniform.double().clamp(1e-7, 1 - 1e-7)
        return torch.sigmoid(self.mean + self.std * torch.special.ndtri(inside)).clamp(max=LARGEST).to(uniform.dtype)


def time_density(name: str, mean: float, std: float) -> TimeDensity:
    """The density that a configuration names.

    Raises:
        ValueError: an unknown name, bad values of ``logit_normal``, or values where there is nothing to set.
    """
    if name not in TIME_SAMPLING:
        raise ValueError(f"decoder_conf time_sampling must be one of {', '.join(TIME_SAMPLING)}, got {name!r}")
    if name == "logit_normal":
        return LogitNormalTimes(mean, std)
    if (mean, std) != (0.0, 1.0):
        raise ValueError("decoder_conf time_mean and time_std are of time_sampling: logit_normal, not of uniform times")
    return UniformTimes()
