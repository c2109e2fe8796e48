"""No quantization: the continuous upper bound of every quantizer (ours)."""

from typing import NoReturn

from torch import Tensor

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.quantizer.abs_quantizer import AbsQuantizer, QuantizerOutput


class IdentityQuantizer(AbsQuantizer):
    """Latents pass in fp32. There are no codes: it can be trained, resynthesized and scored, not dumped.

    Args:
        input_size: D (given by the model, not a configuration key).
    """

    def __init__(self, input_size: int):
        super().__init__()
        self.input_size = input_size

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """None."""
        return ()

    @property
    def codebook_dim(self) -> int:
        """D."""
        return self.input_size

    def forward(self, x: Tensor, lengths: Tensor) -> QuantizerOutput:
        """(B, T, D) -> the same; the part of a single codebook (B, T, 1, D); codes None; no loss."""
        x = x.float()
        return QuantizerOutput(x, x[:, :, None], None, x.new_zeros(()))

    def encode(self, x: Tensor) -> NoReturn:
        """Raises SiTokError."""
        self._refuse()

    def decode_codes(self, codes: Tensor) -> NoReturn:
        """Raises SiTokError."""
        self._refuse()

    def decode_per_codebook(self, codes: Tensor) -> NoReturn:
        """Raises SiTokError."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise SiTokError(
            "quantizer identity is continuous and has no codes: train with one that has (quantizer: ema_vq, "
            "residual_vq, fsq or bsq) where tokens are needed"
        )
