"""One code a step: frame 0 of all codebooks, then frame 1 (what the paper's single codebook needs; AudioLM's order)."""

import torch
from torch import Tensor

from sitok_espnet.speechlm.pattern.abs_pattern import AbsPattern, Due


class FlattenPattern(AbsPattern):
    """Step N t + n holds code n of frame t; one stream. No approximation, N times as many steps."""

    @property
    def num_streams(self) -> int:
        """1."""
        return 1

    def step(self, frame: Tensor, codebook: Tensor) -> Tensor:
        """N t + n."""
        return self.num_codebooks * frame + codebook

    def stream(self, codebook: Tensor) -> Tensor:
        """0."""
        return torch.zeros_like(codebook)

    def due(self, step: int) -> list[Due]:
        """One code."""
        frame, codebook = divmod(step, self.num_codebooks)
        return [Due(0, codebook, frame)]
