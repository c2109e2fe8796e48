"""Contract of the head slot: the loss and the answer of a probe."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class HeadLoss:
    """loss: scalar. errors, units: scalars; errors / units is the error rate of the batch (labels or text pieces).

    In training a head may leave errors out (None), where they cost time.
    """

    loss: Tensor
    errors: Tensor | None
    units: Tensor


class AbsHead(nn.Module, ABC):
    """What a body gives -> loss against a target, and predictions.

    Attributes:
        reads_pooled: whether it reads one vector an utterance (B, D') or frames (B, T, D').
        target: "label" (one class an utterance) or "text" (piece ids).
    """

    reads_pooled: bool
    target: str

    @abstractmethod
    def loss(self, x: Tensor, lengths: Tensor, target: Tensor, target_lengths: Tensor) -> HeadLoss:
        """target (B, L), padded with any value; of a label head L is 1."""

    @abstractmethod
    def predict(self, x: Tensor, lengths: Tensor) -> list[list[int]]:
        """Classes (one an utterance) or piece ids."""


def edit_counts(target: Tensor, target_lengths: Tensor, predicted: list[list[int]]) -> Tensor:
    """Edit errors summed over a batch: target (B, L), predictions -> scalar."""
    import editdistance

    rows = zip(target.tolist(), target_lengths.tolist(), predicted, strict=True)
    return torch.tensor(float(sum(editdistance.eval(row[:length], ids) for row, length, ids in rows)))
