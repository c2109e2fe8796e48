"""The generator of Vocos on our mel: the `vocos` package's backbone and inverse-STFT head (Siuzdak 2023)."""

import torch
from torch import nn
from vocos.heads import ISTFTHead
from vocos.models import VocosBackbone

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.mel.config import MelConfig


class VocosGenerator(nn.Module):
    """(B, F, M) natural-log mel -> (B, hop F) waveform; every row is a complete utterance.

    The head's frames are those of LogMel: with padding "same" and n_fft = win_length, frame f is centred at sample
    hop (f + 1/2), so that sample n of the output is sample n of the analysed audio (tested by an analysis-synthesis
    identity).
    """

    def __init__(self, config: MelConfig, dim: int = 512, intermediate_dim: int = 1536, num_layers: int = 8) -> None:
        """Args:
        config: the mel to invert.
        dim, intermediate_dim, num_layers: of the ConvNeXt backbone; the defaults are those of the public Vocos.

        Raises:
            SiTokError: a size below 1, or a mel whose windows do not overlap.
        """
        super().__init__()
        for name, value in (("dim", dim), ("intermediate_dim", intermediate_dim), ("num_layers", num_layers)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SiTokError(f"generator_conf: {name} must be a whole number of at least 1, got {value!r}")
        if config.pad == 0:
            raise SiTokError("vocos needs overlapping windows: win_length of the mel must be greater than hop_length")
        self.log_floor = config.log_floor
        self.backbone = VocosBackbone(config.n_mels, dim, intermediate_dim, num_layers)
        self.head = ISTFTHead(dim, config.win_length, config.hop_length, padding="same")

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        """Always in float32: the head exponentiates."""
        with torch.autocast(device_type=log_mel.device.type, enabled=False):
            # 0 is silence and 1 is magnitude 1, so that the zero padding of the convolutions is silence too.
            scaled = 1.0 - log_mel.to(torch.float32) / self.log_floor
            return self.head(self.backbone(scaled.transpose(1, 2)))
