"""Contract of the CTC slot."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

BLANK = 0


class AbsCTC(nn.Module, ABC):
    """Quantized latents -> logits over text pieces; piece 0 is the blank."""

    @abstractmethod
    def forward(self, quantized: Tensor, per_codebook: Tensor) -> Tensor:
        """quantized (B, T, D), the parts of the N codebooks (B, T, N, d) -> logits (B, T, V).

        Parts (B, T, 1, d) are the latents before the codebooks are initialised (:class:`QuantizerOutput`).
        """
