"""EnCodec (Defossez et al., arXiv 2210.13438), its causal 24 kHz model."""

from typing import TYPE_CHECKING

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.peers.abs_peer import kilobits_key, kilobits_label
from sitok_espnet.evaluate.peers.abs_transformers import AbsTransformersPeer

if TYPE_CHECKING:
    import torch

BANDWIDTHS = (1.5, 3.0, 6.0, 12.0, 24.0)  # kbit/s: 2 to 32 codebooks of 1,024 entries at 75 Hz


class EnCodec(AbsTransformersPeer):
    """``encodec:KBITS``."""

    codec = "encodec"
    title = "EnCodec"
    examples = ("1.5", "3", "6")
    repository = "facebook/encodec_24khz"
    config_class, model_class = "EncodecConfig", "EncodecModel"

    @classmethod
    def _parse(cls, setting: str) -> float:
        for bandwidth in BANDWIDTHS:
            if setting == f"{bandwidth:g}":
                return bandwidth
        raise cls.refuse(setting, f"expected one of {', '.join(f'{b:g}' for b in BANDWIDTHS)} kbit/s")

    @classmethod
    def key_of(cls, setting: str) -> str:
        return kilobits_key(cls._parse(setting))

    @classmethod
    def label_of(cls, key: str) -> str:
        return kilobits_label(key)

    def describe(self) -> None:
        """Codebooks are as many as fit into the bandwidth."""
        self.bandwidth = self._parse(self.setting)
        if self.bandwidth not in self.config.target_bandwidths:
            raise SiTokError(f"{self.folder}: the model has no bandwidth of {self.setting} kbit/s")
        self.hop = self.config.hop_length
        self.frame_rate = self.config.sampling_rate / self.hop
        bits = self.config.codebook_nbits * self.config.frame_rate
        count = max(1, int(1000 * self.bandwidth // bits))
        self.codebook_sizes = (self.config.codebook_size,) * count
        self.nominal = self.frame_rate * self.config.codebook_nbits * count

    def encode_tensor(self, wav: "torch.Tensor") -> "list[torch.Tensor]":
        """One tensor (1, N, T)."""
        return [self.model.encode(wav, bandwidth=self.bandwidth).audio_codes[0]]

    def decode_tensor(self, codes: "list[torch.Tensor]") -> "torch.Tensor":
        """The 24 kHz model has no scales: it does not normalise."""
        return self.model.decode(codes[0][None], [None]).audio_values
