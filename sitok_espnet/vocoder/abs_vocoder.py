"""Contract of a vocoder."""

from abc import ABC, abstractmethod

import torch

from sitok_espnet.sitok.mel.config import MelConfig


class AbsVocoder(torch.nn.Module, ABC):
    """Log-mel to waveform. `config` is the mel that the vocoder understands; it must be the model's own.

    `identity` is a hash of trained weights, None for a vocoder without any.
    """

    config: MelConfig
    identity: str | None = None

    @abstractmethod
    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        """(B, F, M) natural-log mel (denormalised) -> (B, hop * F) waveform at config.sample_rate, float32.

        Every row is complete: padding must be cut off before (rows of different lengths are separate calls). The
        result of a row does not depend on the others, and sample n of the output is sample n of the analysed audio.
        """
