"""The generator of Vocos on our mel: the `vocos` package's backbone and inverse-STFT head (Siuzdak 2023)."""

import math

import torch
from torch import Tensor, nn
from vocos.heads import ISTFTHead
from vocos.models import VocosBackbone

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.mel.config import MelConfig
from sitok_espnet.sitok.mel.log_mel import mel_filterbank


class SpectralHead(ISTFTHead):
    """Vocos' head with two changes.

    Magnitudes are bounded before the exponential (no infinite gradients), and at twice that of a full-scale sinusoid:
    Vocos' bound of 100 is a sinusoid of amplitude 0.21 in a window of 1920, which loud speech exceeds.

    With `prior` the linear layer predicts a correction to what the mel already says (ours): the log-magnitude
    interpolated from the mel, and the phase of a pulse in the middle of the frame. Without it the layer starts from
    magnitude 1 everywhere and pulses at the frame's edge, where the window is zero, and a small training spends
    thousands of steps on learning that empty bins are empty.
    """

    def __init__(self, dim: int, config: MelConfig, prior: bool) -> None:
        """dim: D, width of the backbone."""
        super().__init__(dim, config.win_length, config.hop_length, padding="same")
        self.limit = math.log(config.win_length / 2)
        self.prior = prior
        if prior:
            matrix, offset, phase = spectral_prior(config)
            device = self.out.weight.device
            for name, value in (("matrix", matrix), ("offset", offset), ("phase", phase)):
                self.register_buffer(name, value.to(device, torch.float32), persistent=False)

    def forward(self, hidden: Tensor, log_mel: Tensor) -> Tensor:
        """(B, F, D) and (B, F, M) -> (B, hop F)."""
        log_magnitude, phase = self.out(hidden).chunk(2, dim=-1)
        if self.prior:
            log_magnitude = log_magnitude + log_mel @ self.matrix + self.offset
            phase = phase + self.phase
        spectrum = torch.polar(log_magnitude.clamp(max=self.limit).exp(), phase)
        return self.istft(spectrum.transpose(1, 2))


def spectral_prior(config: MelConfig) -> tuple[Tensor, Tensor, Tensor]:
    """What a mel says about the spectrum in its window, K = win_length // 2 + 1 bins, float64 on the CPU.

    Returns:
        matrix (M, K) and offset (K,): log-magnitude = log_mel @ matrix + offset, which is exact for a flat spectrum:
        every bin takes the mean of the filters over it, each divided by its gain. phase (K,): of a unit pulse in the
        middle of the window.
    """
    with torch.device("cpu"):
        # In the analysis' own resolution, then at the bins of the window (the same ones where n_fft = win_length).
        filterbank = mel_filterbank(config)
        gain = filterbank.sum(0)
        shape = filterbank / filterbank.amax(0).clamp_min(1e-12)
        at = torch.linspace(0, len(shape) - 1, config.win_length // 2 + 1, dtype=torch.float64)
        low = at.floor().long().clamp(max=len(shape) - 2)
        shape = torch.lerp(shape[low], shape[low + 1], (at - low)[:, None])
        # A bin outside every filter takes the nearest one that is inside.
        covered = (shape.sum(1) > 1e-9).nonzero().flatten()
        nearest = covered[(torch.arange(len(shape))[:, None] - covered).abs().argmin(1)]
        weights = shape[nearest] / shape[nearest].sum(1, keepdim=True)
        log_gain = gain.clamp_min(1e-12).log()
        return (
            weights.T.contiguous(),
            -(weights @ log_gain),
            math.pi * (torch.arange(len(shape), dtype=torch.float64) % 2),
        )


class VocosGenerator(nn.Module):
    """(B, F, M) natural-log mel -> (B, hop F) waveform; every row is a complete utterance.

    The head's frames are those of LogMel: with padding "same" and its FFT as long as the window, frame f is centred at
    sample hop (f + 1/2), so that sample n of the output is sample n of the analysed audio (tested by an
    analysis-synthesis identity).
    """

    def __init__(
        self,
        config: MelConfig,
        dim: int = 512,
        intermediate_dim: int = 1536,
        num_layers: int = 8,
        prior: bool = False,
    ) -> None:
        """Args:
        config: the mel to invert.
        dim, intermediate_dim, num_layers: of the ConvNeXt backbone; the defaults are those of the public Vocos.
        prior: start from the spectrum that the mel implies (SpectralHead).

        Raises:
            SiTokError: a size below 1, or a mel whose windows do not overlap.
        """
        super().__init__()
        for name, value in (("dim", dim), ("intermediate_dim", intermediate_dim), ("num_layers", num_layers)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SiTokError(f"generator_conf: {name} must be a whole number of at least 1, got {value!r}")
        if config.pad == 0 or config.win_length % 2:
            raise SiTokError("vocos needs a mel whose win_length is even and greater than its hop_length")
        self.log_floor = config.log_floor
        self.backbone = VocosBackbone(config.n_mels, dim, intermediate_dim, num_layers)
        self.head = SpectralHead(dim, config, prior)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Always in float32: the head exponentiates."""
        with torch.autocast(device_type=log_mel.device.type, enabled=False):
            log_mel = log_mel.to(torch.float32)
            # 0 is silence and 1 is magnitude 1, so that the zero padding of the convolutions is silence too.
            scaled = 1.0 - log_mel / self.log_floor
            return self.head(self.backbone(scaled.transpose(1, 2)), log_mel)
