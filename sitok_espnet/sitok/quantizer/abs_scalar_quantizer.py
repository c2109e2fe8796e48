"""Quantization of every latent dimension by itself: no codebook, a code is a number whose digits are the levels."""

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sitok_espnet.errors import SiTokError
from sitok_espnet.nn.masks import valid_mask
from sitok_espnet.sitok.quantizer.abs_quantizer import NEAR_TIE, AbsQuantizer, QuantizerOutput, code_usage

# Statistics count every code, and a token dump lists every one.
MAX_CODES = 1 << 24


class AbsScalarQuantizer(AbsQuantizer):
    """Linear(D, n), a grid of ``levels`` in every dimension, Linear(n, D); one codebook of ``prod(levels)`` codes.

    The first dimension is the least significant digit. Codes are computed in int64, and the decision for a level in
    fp64 from an fp32 projection: how elementary functions are vectorised must not decide a code. What remains of
    promise 1 (DESIGN section 6) is the last bit of the projection, see :meth:`is_near_tie`.

    Args:
        input_size: D.
        levels: of each of the n dimensions.
    """

    def __init__(self, input_size: int, levels: Sequence[int]):
        super().__init__()
        if math.prod(levels) > MAX_CODES:
            raise SiTokError(f"quantizer_conf: {math.prod(levels):,} codes are more than the {MAX_CODES:,} we support")
        self.project_in = nn.Linear(input_size, len(levels))
        self.project_out = nn.Linear(len(levels), input_size)
        self.num_codes = math.prod(levels)
        # Not persistent: checkpoint averaging sums integer buffers.
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        weights = [math.prod(levels[:position]) for position in range(len(levels))]
        self.register_buffer("digit_weights", torch.tensor(weights), persistent=False)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """The one product of all levels."""
        return (self.num_codes,)

    @property
    def codebook_dim(self) -> int:
        """n."""
        return self.project_in.out_features

    @abstractmethod
    def bound(self, latents: Tensor) -> Tensor:
        """(..., n) fp64 -> the points (..., n) fp64 that are rounded to the grid, differentiable."""

    @abstractmethod
    def nearest_digits(self, points: Tensor) -> Tensor:
        """(..., n) fp64 -> (..., n) int64, the level in each dimension, always a legal one."""

    @abstractmethod
    def grid(self, digits: Tensor) -> Tensor:
        """(..., n) int64 -> (..., n) fp32, the place of each level."""

    def regularisation(self, points: Tensor, chosen: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss (weighted) and statistics of the valid points (m, n) and their places on the grid (m, n)."""
        return points.new_zeros(()), {}

    def points(self, x: Tensor) -> Tensor:
        """(..., D) -> (..., n) fp64."""
        return self.bound(self.project_in(x.float()).double())

    def to_codes(self, digits: Tensor) -> Tensor:
        """(..., n) int64 -> (...) int64."""
        return (digits * self.digit_weights).sum(dim=-1)

    def to_digits(self, codes: Tensor) -> Tensor:
        """(...) int64 -> (..., n) int64."""
        return torch.div(codes[..., None], self.digit_weights, rounding_mode="floor") % self.levels

    def forward(self, x: Tensor, lengths: Tensor) -> QuantizerOutput:
        """(B, T, D), lengths (B,) -> :class:`QuantizerOutput`, N = 1."""
        with torch.autocast(x.device.type, enabled=False):
            exact = self.points(x)
            digits = self.nearest_digits(exact.detach())
            points, chosen, codes = exact.float(), self.grid(digits), self.to_codes(digits)
            valid = valid_mask(lengths, x.size(1))
            loss, stats = self.regularisation(points[valid], chosen[valid])
            quantized = points + (chosen - points).detach()
            stats = code_usage(codes[valid], self.num_codes) | stats
            return QuantizerOutput(self.project_out(quantized), quantized[:, :, None], codes[:, :, None], loss, stats)

    def encode(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, 1)."""
        with torch.autocast(x.device.type, enabled=False):
            return self.to_codes(self.nearest_digits(self.points(x)))[:, :, None]

    def decode_per_codebook(self, codes: Tensor) -> Tensor:
        """(B, T, 1) -> (B, T, 1, n)."""
        return self.grid(self.to_digits(codes))

    def decode_codes(self, codes: Tensor) -> Tensor:
        """(B, T, 1) -> (B, T, D)."""
        with torch.autocast(codes.device.type, enabled=False):
            return self.project_out(self.decode_per_codebook(codes)[:, :, 0])

    def is_near_tie(self, latent: Tensor, first: Tensor, second: Tensor) -> bool:
        """Every dimension that differs differs by one level, and lies within 1e-4 of a step of the boundary."""
        point = self.points(latent)
        one, two = self.to_digits(first[0]), self.to_digits(second[0])
        differing = one != two
        here, there = self.grid(one).double(), self.grid(two).double()
        close = (point - (here + there) / 2).abs() <= NEAR_TIE * (here - there).abs()
        return bool((close & ((one - two).abs() == 1))[differing].all())
