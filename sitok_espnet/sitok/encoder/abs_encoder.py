"""Contract of the encoder slot."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from sitok_espnet.errors import SiTokError


class AbsEncoder(nn.Module, ABC):
    """Stacked mel -> latents at the token rate. Causal: position t sees positions 0..t only."""

    @abstractmethod
    def output_size(self) -> int:
        """Width D of the latents."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """(B, T, kM) normalised stacked log-mel, right-padded -> (B, T, D); padding does not change valid positions."""

    @property
    def attention_window(self) -> int | None:
        """Tokens that a position sees in every layer; None sees all before it: a stream's state grows without bound."""
        return None

    def initial_state(self) -> Any:
        """The state of a stream before its first step. An encoder that can stream has this and ``step``."""
        raise SiTokError(f"the encoder {type(self).__name__} cannot stream: it has no step; encode whole utterances")

    def step(self, x: Tensor, state: Any) -> tuple[Tensor, Any]:
        """The next t >= 1 positions (B, t, kM) of a stream -> their latents (B, t, D) and the state after them.

        Equal to the rows of ``forward`` on all so far, however it is cut (DESIGN section 6, promise 2). The given
        ``state`` stays as it was.
        """
        raise SiTokError(f"the encoder {type(self).__name__} cannot stream: it has no step; encode whole utterances")
