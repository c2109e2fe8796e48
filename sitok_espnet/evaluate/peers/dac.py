"""DAC (Kumar et al., arXiv 2306.06546), its 24 kHz model."""

import math
from typing import TYPE_CHECKING

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.peers.abs_transformers import AbsTransformersPeer

if TYPE_CHECKING:
    import torch

CODEBOOKS = 32


class DAC(AbsTransformersPeer):
    """``dac:N``: the first N of 32 codebooks of 1,024 entries at 75 Hz; it was trained with any number of them."""

    codec = "dac"
    title = "DAC"
    examples = ("2", "4", "8")
    repository = "descript/dac_24khz"
    config_class, model_class = "DacConfig", "DacModel"
    # The authors' conf/final/24khz.yml; the rest are the class's defaults.
    published = {"downsampling_ratios": [2, 4, 5, 8], "n_codebooks": CODEBOOKS, "sampling_rate": 24000}

    @classmethod
    def key_of(cls, setting: str) -> str:
        return str(cls.whole_number(setting, CODEBOOKS))

    @classmethod
    def label_of(cls, key: str) -> str:
        return f"{key} codebooks"

    def describe(self) -> None:
        self.count = int(self.setting)
        if self.count > self.config.n_codebooks:
            raise SiTokError(f"{self.folder}: the model has {self.config.n_codebooks} codebooks, not {self.count}")
        self.hop = math.prod(self.config.downsampling_ratios)
        self.frame_rate = self.config.sampling_rate / self.hop
        self.codebook_sizes = (self.config.codebook_size,) * self.count
        self.nominal = self.frame_rate * math.log2(self.config.codebook_size) * self.count

    def encode_tensor(self, wav: "torch.Tensor") -> "list[torch.Tensor]":
        """One tensor (1, N, T)."""
        return [self.model.encode(wav, n_quantizers=self.count).audio_codes]

    def decode_tensor(self, codes: "list[torch.Tensor]") -> "torch.Tensor":
        """A few samples shorter than its frames (8 at 24 kHz): strides of 5 lose one each; the rest is zeros."""
        return self.model.decode(audio_codes=codes[0]).audio_values
