"""Contract of the feats_extract slot."""

from abc import ABC, abstractmethod

import torch

from sitok_espnet.sitok.mel.config import MelConfig


class AbsFeatsExtract(torch.nn.Module, ABC):
    """Waveform to log-mel. A class of this slot has a `config` (MelConfig) shared with the vocoder."""

    config: MelConfig

    @abstractmethod
    def output_size(self) -> int:
        """Number of mel bins M."""

    @abstractmethod
    def forward(self, speech: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, S) samples and (B,) lengths -> (B, F, M) log-mel with F = ceil(S / hop), (B,) frame counts.

        Frames of one row depend on the samples of that row before its length only, never on the batch.
        """
