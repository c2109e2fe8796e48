"""Mimi (Defossez et al., arXiv 2410.00037): 12.5 Hz, one semantic and up to 31 acoustic codebooks."""

import math
from typing import TYPE_CHECKING

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.peers.abs_transformers import AbsTransformersPeer

if TYPE_CHECKING:
    import torch

CODEBOOKS = 32


class Mimi(AbsTransformersPeer):
    """``mimi:N``: the first N codebooks of 2,048 entries; 8 are what Moshi uses."""

    codec = "mimi"
    title = "Mimi"
    examples = ("8", "4", "16")
    repository = "kyutai/mimi"
    config_class, model_class = "MimiConfig", "MimiModel"

    @classmethod
    def key_of(cls, setting: str) -> str:
        return str(cls.whole_number(setting, CODEBOOKS))

    @classmethod
    def label_of(cls, key: str) -> str:
        return f"{key} codebooks"

    def describe(self) -> None:
        self.count = int(self.setting)
        if self.count > self.config.num_quantizers:
            raise SiTokError(f"{self.folder}: the model has {self.config.num_quantizers} codebooks, not {self.count}")
        self.hop = self.config.frame_size
        self.frame_rate = self.config.sampling_rate / self.hop
        self.codebook_sizes = (self.config.codebook_size,) * self.count
        self.nominal = self.frame_rate * math.log2(self.config.codebook_size) * self.count

    def encode_tensor(self, wav: "torch.Tensor") -> "list[torch.Tensor]":
        """One tensor (1, N, T)."""
        return [self.model.encode(wav, num_quantizers=self.count).audio_codes]

    def decode_tensor(self, codes: "list[torch.Tensor]") -> "torch.Tensor":
        return self.model.decode(codes[0]).audio_values
