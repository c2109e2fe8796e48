"""Contract of the quantizer slot."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

# Relative margin under which two codes count as equally near (DESIGN section 6, promise 1).
NEAR_TIE = 1e-4


@dataclass(frozen=True)
class QuantizerOutput:
    """What a quantizer returns in training and evaluation.

    quantized: (B, T, D), carries straight-through gradients to the encoder.
    quantized_per_codebook: (B, T, N, d), each with a straight-through gradient of its own (their sum carries it N
    times); what the CTC decoder may read with several codebooks. (B, T, 1, d) as long as not all of them are
    initialised: the latents, in place of any selection.
    codes: (B, T, N) int64, arbitrary at padded positions; None where there are no codes (continuous bound).
    loss: scalar, already weighted, zero where the quantizer has none.
    stats: scalars for the log.
    """

    quantized: Tensor
    quantized_per_codebook: Tensor
    codes: Tensor | None
    loss: Tensor
    stats: dict[str, Tensor] = field(default_factory=dict)


class AbsQuantizer(nn.Module, ABC):
    """Latents (B, T, D) -> quantized latents and integer codes. Always computed in fp32."""

    @property
    @abstractmethod
    def codebook_sizes(self) -> tuple[int, ...]:
        """Entries of each of the N codebooks; empty for a quantizer without codes."""

    @property
    def num_codebooks(self) -> int:
        """N."""
        return len(self.codebook_sizes)

    @property
    @abstractmethod
    def codebook_dim(self) -> int:
        """d, the width of one codebook's part."""

    @abstractmethod
    def forward(self, x: Tensor, lengths: Tensor) -> QuantizerOutput:
        """(B, T, D), lengths (B,) in tokens -> :class:`QuantizerOutput`; padding never enters losses or statistics."""

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """(B, T, D) -> codes (B, T, N), without touching any state."""

    @abstractmethod
    def decode_codes(self, codes: Tensor) -> Tensor:
        """Codes (B, T, N) -> (B, T, D), the same values as ``forward(...).quantized``."""

    @abstractmethod
    def decode_per_codebook(self, codes: Tensor) -> Tensor:
        """Codes (B, T, N) -> (B, T, N, d), the same values as ``forward(...).quantized_per_codebook``."""

    def update_codebook(self) -> None:  # noqa: B027  (a quantizer without running statistics has nothing to do)
        """Called once after every optimizer step; moves running statistics."""

    def is_near_tie(self, latent: Tensor, first: Tensor, second: Tensor) -> bool:
        """Whether rounding alone can decide between two different codes of one latent (promise 1).

        latent (D,); first and second (N,). Judged in fp64 at the first codebook in which the codes differ: what
        follows there differs with reason. A quantizer that states no rule proves nothing.
        """
        return False

    @property
    def frozen(self) -> bool:
        """True when nothing here is trainable (``--freeze_param quantizer``): running statistics stand still too."""
        return not any(p.requires_grad for p in self.parameters())


def code_usage(codes: Tensor, size: int) -> dict[str, Tensor]:
    """Perplexity and used share of one codebook in a flat batch of codes (n,)."""
    counts = torch.bincount(codes, minlength=size).float()
    shares = counts / counts.sum().clamp(min=1)
    entropy = -(shares * shares.clamp(min=1e-12).log()).sum()
    return {"perplexity": entropy.exp(), "used_codes": (counts > 0).float().sum()}
