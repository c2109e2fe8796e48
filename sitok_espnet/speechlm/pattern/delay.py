"""All codebooks in one step, each a step later than the one before (Copet et al. 2023, MusicGen, section 2.2)."""

import torch
from torch import Tensor

from sitok_espnet.speechlm.pattern.abs_pattern import AbsPattern, Due


class DelayPattern(AbsPattern):
    """Step t + n holds code n of frame t; N streams. T + N - 1 steps, at least T + 1 with the end.

    The codes of one step are predicted independently of each other, given all steps before.
    """

    @property
    def num_streams(self) -> int:
        """N."""
        return self.num_codebooks

    def step(self, frame: Tensor, codebook: Tensor) -> Tensor:
        """t + n."""
        return frame + codebook

    def stream(self, codebook: Tensor) -> Tensor:
        """n."""
        return torch.as_tensor(codebook)

    def due(self, step: int) -> list[Due]:
        """One code of each of N frames; fewer in the first steps."""
        return [Due(n, n, step - n) for n in range(min(self.num_codebooks, step + 1))]
