"""Contract of the body slot: a probe's architecture."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class AbsBody(nn.Module, ABC):
    """Frames to frames, or to one vector an utterance. Right padding never changes what belongs to an utterance.

    Attributes:
        pools: True if it makes one vector of an utterance.
    """

    pools: bool

    @abstractmethod
    def output_size(self) -> int:
        """D'."""

    @abstractmethod
    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, D), lengths (B,) -> (B, T, D'), or (B, D') where it pools."""
