"""Contract of the feats_extract slot."""

from abc import ABC, abstractmethod

import torch

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.mel.config import MelConfig


def _hash_values(config: MelConfig) -> list[float]:
    return [float(byte) for byte in bytes.fromhex(config.hash())]


class AbsFeatsExtract(torch.nn.Module, ABC):
    """Waveform to log-mel, described by a `config` (MelConfig) that the vocoder shares.

    The buffer `mel_hash` (8 bytes as floats: integer buffers do not survive ESPnet's checkpoint averaging) stores
    the hash of the configuration in every checkpoint; loading a checkpoint of another mel raises SiTokError.
    """

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("mel_hash", torch.tensor(_hash_values(config), dtype=torch.float32))

    @abstractmethod
    def output_size(self) -> int:
        """Number of mel bins M."""

    @abstractmethod
    def forward(self, speech: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, S) samples and (B,) lengths -> (B, F, M) log-mel with F = ceil(S / hop), (B,) frame counts.

        Frames of one row depend on the samples of that row before its length only, never on the batch.
        """

    def _load_from_state_dict(self, state_dict, prefix, *args) -> None:
        stored = state_dict.get(prefix + "mel_hash")
        if stored is not None and stored.flatten().tolist() != _hash_values(self.config):
            try:
                found = bytes(int(value) for value in stored.flatten().tolist()).hex()
            except (ValueError, OverflowError):
                found = str(stored.flatten().tolist())
            raise SiTokError(
                f"the checkpoint was made with another mel spectrogram (mel hash {found}, this configuration has "
                f"{self.config.hash()}): use the config.yaml that belongs to the checkpoint, or make "
                f"feats_extract_conf equal to the one it was trained with"
            )
        super()._load_from_state_dict(state_dict, prefix, *args)
