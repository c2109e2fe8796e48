"""The constants of the mel spectrogram, in one place, with a hash that travels in checkpoints and manifests."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass

from sitok_espnet.errors import SiTokError


@dataclass(frozen=True)
class MelConfig:
    """All constants of the log-mel (paper section 1: 24 kHz, 128 bins, 50 frames/s; the rest as in TaDiCodec).

    Attributes:
        sample_rate: Hz.
        n_fft: FFT size in samples.
        win_length: length of the periodic Hann window in samples, at most n_fft.
        hop_length: samples from one frame to the next.
        n_mels: number of mel bins M.
        fmin, fmax: lower and upper edge of the filterbank in Hz.
        floor: mel magnitudes are clamped to this value before the natural logarithm.

    Raises:
        SiTokError: if the values contradict each other.
    """

    sample_rate: int = 24000
    n_fft: int = 1920
    win_length: int = 1920
    hop_length: int = 480
    n_mels: int = 128
    fmin: float = 0.0
    fmax: float = 12000.0
    floor: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("sample_rate", "n_fft", "win_length", "hop_length", "n_mels"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
                raise SiTokError(f"mel configuration: {name} must be a positive integer, not {value!r}")
        for name in ("fmin", "fmax", "floor"):
            # 0 and 0.0 in a YAML are the same filterbank and must have the same hash.
            object.__setattr__(self, name, float(getattr(self, name)))
        if self.win_length > self.n_fft:
            raise SiTokError(f"mel configuration: win_length {self.win_length} exceeds n_fft {self.n_fft}")
        if self.hop_length > self.win_length or (self.win_length - self.hop_length) % 2:
            raise SiTokError(
                f"mel configuration: win_length - hop_length must be even and not negative "
                f"(win_length {self.win_length}, hop_length {self.hop_length}), or frames cannot be centred"
            )
        if not 0.0 <= self.fmin < self.fmax <= self.sample_rate / 2:
            raise SiTokError(
                f"mel configuration: need 0 <= fmin < fmax <= {self.sample_rate / 2} Hz, "
                f"got fmin {self.fmin}, fmax {self.fmax}"
            )
        if not self.floor > 0.0:
            raise SiTokError(f"mel configuration: floor must be positive, not {self.floor}")

    @property
    def pad(self) -> int:
        """Zeros on each side of the waveform; with them frame f is centred at hop_length * (f + 1/2)."""
        return (self.win_length - self.hop_length) // 2

    @property
    def log_floor(self) -> float:
        """Natural logarithm of the floor: the value of a silent bin."""
        return math.log(self.floor)

    def hash(self) -> str:
        """16 hex digits: the first 8 bytes of the SHA-256 of the canonical JSON (sorted keys, no spaces)."""
        canonical = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode("utf-8")).hexdigest()[:16]
