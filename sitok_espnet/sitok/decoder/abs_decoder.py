"""Contract of the decoder slot."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from torch import Tensor, nn

from sitok_espnet.sitok.randomness import AbsDraws


@dataclass(frozen=True)
class SamplingConfig:
    """How an iterative decoder samples (PAPER section 2).

    steps: solver steps. cfg_scale: w of ``v_c + w (v_c - v_u)``; 0 is off and costs one evaluation a step.
    """

    steps: int = 16
    cfg_scale: float = 0.0

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if self.cfg_scale < 0:
            raise ValueError(f"cfg_scale must not be negative, got {self.cfg_scale}")


@dataclass(frozen=True)
class DecoderBatch:
    """target: (B, T, kM) normalised stacked log-mel. quantized: (B, T, D). lengths: (B,) tokens.

    valid: (B, T, kM) or broadcastable to it, 1 at elements of valid frames (F, not kT, masks the loss), 0 elsewhere.
    """

    target: Tensor
    quantized: Tensor
    lengths: Tensor
    valid: Tensor


@dataclass(frozen=True)
class DecoderLoss:
    """loss: scalar. stats: scalars for the log."""

    loss: Tensor
    stats: dict[str, Tensor] = field(default_factory=dict)


class AbsDecoder(nn.Module, ABC):
    """Quantized latents -> stacked mel."""

    @abstractmethod
    def loss(self, batch: DecoderBatch, draws: AbsDraws) -> DecoderLoss:
        """Training objective, the mean over valid mel elements."""

    @abstractmethod
    def sample(self, quantized: Tensor, lengths: Tensor, noise: Tensor, sampling: SamplingConfig) -> Tensor:
        """quantized (B, T, D), lengths (B,), noise (B, T, kM) -> normalised stacked log-mel (B, T, kM)."""
