"""The log-mel spectrogram of SiTok (DESIGN section 8, "Mel")."""

import math

import torch

from sitok_espnet.sitok.mel.abs_feats_extract import AbsFeatsExtract
from sitok_espnet.sitok.mel.config import MelConfig


def hz_to_mel(hz: torch.Tensor) -> torch.Tensor:
    """Slaney's mel scale: linear below 1 kHz (3 mel per 200 Hz), logarithmic above (27 mel per factor 6.4)."""
    linear = hz * 3.0 / 200.0
    logarithmic = 15.0 + 27.0 * torch.log(hz.clamp_min(1000.0) / 1000.0) / math.log(6.4)
    return torch.where(hz < 1000.0, linear, logarithmic)


def mel_to_hz(mel: torch.Tensor) -> torch.Tensor:
    """Inverse of hz_to_mel."""
    linear = mel * 200.0 / 3.0
    logarithmic = 1000.0 * torch.exp((mel - 15.0) * math.log(6.4) / 27.0)
    return torch.where(mel < 15.0, linear, logarithmic)


def mel_filterbank(config: MelConfig) -> torch.Tensor:
    """Triangular filters of unit area (Slaney scale and norm): (n_fft // 2 + 1, M) float64 on the CPU."""
    with torch.device("cpu"):
        bins = torch.arange(config.n_fft // 2 + 1, dtype=torch.float64) * config.sample_rate / config.n_fft
        limits = hz_to_mel(torch.tensor([config.fmin, config.fmax], dtype=torch.float64))
        edges = mel_to_hz(torch.linspace(limits[0], limits[1], config.n_mels + 2, dtype=torch.float64))
        left, centre, right = edges[:-2], edges[1:-1], edges[2:]
        rising = (bins[:, None] - left) / (centre - left)
        falling = (right - bins[:, None]) / (right - centre)
        triangles = torch.minimum(rising, falling).clamp_min(0.0)
        return triangles * 2.0 / (right - left)


def frame(padded: torch.Tensor, config: MelConfig) -> torch.Tensor:
    """(B, hop * F + 2 * pad) samples -> (B, F, win_length) overlapping frames (a view)."""
    return padded.unfold(-1, config.win_length, config.hop_length)


class LogMel(AbsFeatsExtract):
    """Natural logarithm of the mel magnitudes, always in float32, whatever autocast says."""

    def __init__(
        self,
        sample_rate: int = 24000,
        n_fft: int = 1920,
        win_length: int = 1920,
        hop_length: int = 480,
        n_mels: int = 128,
        fmin: float = 0.0,
        fmax: float = 12000.0,
        floor: float = 1e-5,
    ) -> None:
        """Args: the fields of MelConfig, which describes and checks them."""
        super().__init__(MelConfig(sample_rate, n_fft, win_length, hop_length, n_mels, fmin, fmax, floor))
        window = torch.hann_window(win_length, periodic=True, dtype=torch.float64)
        self.register_buffer("window", window.to(torch.float32), persistent=False)
        # The default device may be meta (parameter counts); the values then do not matter, the shapes do.
        filterbank = mel_filterbank(self.config).to(device=window.device, dtype=torch.float32)
        self.register_buffer("filterbank", filterbank, persistent=False)

    def output_size(self) -> int:
        """Number of mel bins M."""
        return self.config.n_mels

    def forward(self, speech: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-mel of right-padded waveforms.

        Args:
            speech: (B, S) samples, S >= 1; what stands at or beyond a row's length is ignored.
            lengths: (B,) samples.

        Returns:
            (B, F, M) float32 natural-log mel magnitudes, F = ceil(S / hop), frame f centred at sample
            hop * (f + 1/2); and (B,) frame counts ceil(length / hop). Frames beyond a row's count are the real
            analysis of zeros behind its end (so the last window's tail reaches into them), not a constant.
        """
        config = self.config
        kind = speech.device.type
        # The meta device has no autocast of its own to switch off.
        with torch.autocast(device_type=kind if torch.amp.is_autocast_available(kind) else "cpu", enabled=False):
            samples = speech.shape[-1]
            inside = torch.arange(samples, device=speech.device) < lengths.to(speech.device)[:, None]
            # where, not a product: NaN in the padding must not leak.
            audio = torch.where(inside, speech.to(torch.float32), 0.0)
            frames = -(-samples // config.hop_length)
            missing = frames * config.hop_length - samples
            audio = torch.nn.functional.pad(audio, (config.pad, config.pad + missing))
            windowed = frame(audio, config) * self.window.to(torch.float32)
            magnitude = torch.fft.rfft(windowed, n=config.n_fft).abs()
            # The projection sums in float64: a float32 matrix product rounds differently with the number of rows,
            # and then the tokens of an utterance would depend on its batch.
            mel = (magnitude.double() @ self.filterbank.double()).to(torch.float32)
            log_mel = mel.clamp_min(config.floor).log()
        return log_mel, torch.div(lengths + config.hop_length - 1, config.hop_length, rounding_mode="floor")
