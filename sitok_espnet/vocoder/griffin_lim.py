"""Griffin-Lim on exactly the framing of LogMel: the vocoder that needs no training."""

import numpy as np
import torch

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.mel.config import MelConfig
from sitok_espnet.sitok.mel.log_mel import frame, mel_filterbank
from sitok_espnet.vocoder.abs_vocoder import AbsVocoder


class GriffinLim(AbsVocoder):
    """Mel to linear magnitude by multiplicative updates, then fast Griffin-Lim.

    Linear magnitude: `X >= 0` with `X W = mel`, W the filterbank, by the multiplicative updates of Lee and Seung
    (2001) for the Kullback-Leibler divergence, started at the clamped pseudo-inverse; unlike squared error it weighs
    quiet bins by their own size, as a log-mel does. Phase: the accelerated Griffin-Lim of Perraudin et al. (2013)
    with momentum 0.99, from a random phase drawn frame-major from `seed`.

    The frames are those of LogMel (zero padding of 720 samples on both sides, `center=False`), which puts sample n
    of the output at sample n of the input; a transform with centred frames would be 240 samples off. The padding is
    known to be zero, and every projection makes it zero again.
    """

    def __init__(
        self,
        config: MelConfig | None = None,
        iterations: int = 48,
        momentum: float = 0.99,
        mel_steps: int = 20,
        seed: int = 0,
    ) -> None:
        """Args:
        config: the mel to invert.
        iterations: Griffin-Lim iterations.
        momentum: 0 is the classical algorithm.
        mel_steps: multiplicative updates from mel to linear magnitude.
        seed: of the initial phase.

        Raises:
            SiTokError: if an option is out of range.
        """
        super().__init__()
        for name, value in (("iterations", iterations), ("mel_steps", mel_steps)):
            if value < 0:
                raise SiTokError(f"griffin_lim: {name} must not be negative, got {value}")
        if not 0.0 <= momentum < 1.0:
            raise SiTokError(f"griffin_lim: momentum must be in [0, 1), got {momentum}")
        self.config = config or MelConfig()
        self.iterations = iterations
        self.momentum = momentum
        self.mel_steps = mel_steps
        self.seed = seed
        filterbank = mel_filterbank(self.config)
        window = torch.hann_window(self.config.win_length, periodic=True, dtype=torch.float64)
        for name, value in (
            ("filterbank", filterbank),
            ("pseudo_inverse", torch.linalg.pinv(filterbank)),
            ("window", window),
        ):
            self.register_buffer(name, value.to(torch.float32), persistent=False)

    def forward(self, log_mel: torch.Tensor) -> torch.Tensor:
        """(B, F, M) log-mel -> (B, hop * F) waveform; rows are computed one by one, so that they are independent."""
        kind = log_mel.device.type
        with torch.no_grad(), torch.autocast(device_type=kind, enabled=False):
            return torch.stack([self._row(row.to(torch.float32)) for row in log_mel])

    def _row(self, log_mel: torch.Tensor) -> torch.Tensor:
        """(F, M) -> (hop * F,)."""
        magnitude = self.linear_magnitude(log_mel.exp())
        draw = np.random.Generator(np.random.PCG64(self.seed)).random(tuple(magnitude.shape), dtype=np.float32)
        angle = torch.from_numpy(draw).to(magnitude.device) * (2.0 * torch.pi)
        spectrum = torch.polar(magnitude, angle)
        previous = None
        for _ in range(self.iterations):
            consistent = self.analyse(self.synthesise(spectrum))
            # The accelerated step extrapolates past the projection.
            step = consistent if previous is None else consistent + self.momentum * (consistent - previous)
            previous = consistent
            spectrum = magnitude * step / step.abs().clamp_min(1e-12)
        return self.synthesise(spectrum)

    def linear_magnitude(self, mel: torch.Tensor) -> torch.Tensor:
        """(F, M) mel magnitudes -> (F, n_fft // 2 + 1) magnitudes of the linear spectrum, not negative."""
        tiny = 1e-8
        # Zero is a fixed point of multiplicative updates, so the start must be positive everywhere.
        linear = (mel @ self.pseudo_inverse).clamp_min(tiny)
        weight = self.filterbank.sum(1).clamp_min(tiny)
        for _ in range(self.mel_steps):
            ratio = mel / (linear @ self.filterbank).clamp_min(tiny)
            linear = linear * (ratio @ self.filterbank.T) / weight
        # Bins outside every filter are unknown: silent.
        return linear * (self.filterbank.sum(1) > 0)

    def analyse(self, wav: torch.Tensor) -> torch.Tensor:
        """(hop * F,) samples -> (F, n_fft // 2 + 1) complex spectrum in LogMel's framing."""
        padded = torch.nn.functional.pad(wav[None], (self.config.pad, self.config.pad))
        return torch.fft.rfft(frame(padded, self.config)[0] * self.window, n=self.config.n_fft)

    def synthesise(self, spectrum: torch.Tensor) -> torch.Tensor:
        """(F, n_fft // 2 + 1) complex spectrum -> (hop * F,) samples: least-squares inverse of `analyse`."""
        config = self.config
        frames = torch.fft.irfft(spectrum, n=config.n_fft)[:, : config.win_length] * self.window
        squared = (self.window**2).expand_as(frames)
        total = self._overlap_add(frames) / self._overlap_add(squared).clamp_min(1e-8)
        return total[config.pad : config.pad + config.hop_length * len(spectrum)]

    def _overlap_add(self, frames: torch.Tensor) -> torch.Tensor:
        """(F, win_length) -> (hop * F + 2 * pad,)."""
        config = self.config
        length = config.hop_length * len(frames) + 2 * config.pad
        folded = torch.nn.functional.fold(
            frames.T[None], (1, length), kernel_size=(1, config.win_length), stride=(1, config.hop_length)
        )
        return folded[0, 0, 0]
