"""Finite scalar quantization (FSQ, arXiv 2309.15505): bounded latents, rounded (PAPER section 4, ablations)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.quantizer.abs_scalar_quantizer import AbsScalarQuantizer

# The range is this much wider than the levels, so that the outermost ones are reached before the tanh is flat.
MARGIN = 1e-3


class FiniteScalarQuantizer(AbsScalarQuantizer):
    """Linear(D, n); in dimension i ``round(f_i(z_i))`` with L_i integer values; divided by ``L_i // 2``; Linear(n, D).

    ``f(z) = h tanh(z + s) - o`` with ``h = (L - 1) / 2 (1 + 1e-3)``, ``o = 1/2`` for even L and 0 for odd L, and
    ``s = artanh(o / h)`` so that f(0) = 0: L values around zero, -L/2 .. L/2 - 1 for even L (section 3 and appendix A
    of the FSQ paper; its listing widens h with the other sign and has tan for artanh). The gradient passes the rounding
    unchanged. There is no loss.

    Args:
        input_size: D (given by the model, not a configuration key).
        levels: L_i, at least 3 each (the paper wants 5 or more); their product is the number of codes. The default has
            64,000, next to the paper's 65,536; [8, 8, 8, 8, 4, 4] has 65,536 exactly.
    """

    def __init__(self, input_size: int, levels: Sequence[int] = (8, 8, 8, 5, 5, 5)):
        whole = isinstance(levels, Sequence) and all(isinstance(level, int) for level in levels)
        if not whole or not levels or min(levels) < 3:
            raise SiTokError(
                f"quantizer_conf levels must be a list of whole numbers of at least 3, such as [8, 8, 8, 5, 5, 5], got "
                f"{levels!r} (two levels are quantizer: bsq)"
            )
        super().__init__(input_size, list(levels))

    def bound(self, latents: Tensor) -> Tensor:
        """f(z) / (L // 2)."""
        range_ = (self.levels - 1).double() / 2 * (1 + MARGIN)
        offset = 0.5 * (self.levels % 2 == 0).double()
        return (torch.tanh(latents + torch.atanh(offset / range_)) * range_ - offset) / (self.levels // 2)

    def nearest_digits(self, points: Tensor) -> Tensor:
        """Rounded; half a step goes to the even integer. NaN, which training skips, becomes some level."""
        middle = self.levels // 2
        digits = (points * middle).round().nan_to_num(0.0).long() + middle
        return torch.minimum(digits.clamp(min=0), self.levels - 1)

    def grid(self, digits: Tensor) -> Tensor:
        """-1, ..., 1 for odd L; 1 is missing for even L."""
        middle = self.levels // 2
        return (digits - middle).float() / middle
