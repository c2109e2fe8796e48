"""The contract of a backbone: an autoregressive transformer over a joint vocabulary."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn


class AbsLM(nn.Module, ABC):
    """Shapes: R rows, P positions, K positions of the cache and P, D width.

    Implementations take the size of the joint vocabulary as ``vocabulary_size``, given by the task.
    """

    @abstractmethod
    def output_size(self) -> int:
        """D."""

    @abstractmethod
    def embed(self, identifiers: Tensor) -> Tensor:
        """Identifiers (...) -> embeddings (..., D)."""

    @abstractmethod
    def set_embeddings(self, choices: range, rows: Tensor) -> None:
        """Give a range of identifiers other embeddings (len(choices), D), and the same rows of the output layer."""

    @abstractmethod
    def forward(self, embeddings: Tensor, mask: Tensor, positions: Tensor, cache: Any = None) -> Tensor:
        """Hidden states (R, P, D) of embeddings (R, P, D).

        Args:
            embeddings: of the new positions.
            mask: (R, 1, P, K) bool, True where a position sees another.
            positions: (R, P) for the rotary embedding.
            cache: of `make_cache`, extended by this call; None computes all positions at once.
        """

    @abstractmethod
    def make_cache(self) -> Any:
        """An empty cache of keys and values; ``batch_select_indices(rows)`` of it keeps some rows."""

    @abstractmethod
    def logits(self, hidden: Tensor, choices: range) -> Tensor:
        """Hidden states (..., D) -> scores (..., len(choices)) of a range of identifiers."""
