"""Contract of the input_adapter slot (`--adapter` is ESPnet's own, for fine-tuning)."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from sitok_espnet.probes.card import InputCard


class AbsAdapter(nn.Module, ABC):
    """Any input of a probe -> frames of one size, so that the rest of the probe is the same for all inputs."""

    @classmethod
    @abstractmethod
    def accepts(cls, card: InputCard) -> bool:
        """Whether it reads this kind of input."""

    @abstractmethod
    def output_size(self) -> int:
        """D."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """(B, T, card.width), integers or floats, anything beyond the lengths -> (B, T, D); frame by frame."""
