"""Contract of the encoder slot."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class AbsEncoder(nn.Module, ABC):
    """Stacked mel -> latents at the token rate. Causal: position t sees positions 0..t only."""

    @abstractmethod
    def output_size(self) -> int:
        """Width D of the latents."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """(B, T, kM) normalised stacked log-mel, right-padded -> (B, T, D); padding does not change valid positions."""
