"""The contract of a peer: another codec that codes the same utterances, at a stated bit rate (ours)."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sitok_espnet.audio import check_sample_rate, check_waveform
from sitok_espnet.errors import SiTokError

SAMPLE_RATE = 24000  # Hz, of what goes in and comes out of every peer
MEASURED = "measured bytes / seconds"
FORMULA = "frame rate x log2 sizes"


class PeerUnavailable(SiTokError):
    """The codec cannot run here: which program, package or weights are missing, and where to get them."""


@dataclass(frozen=True)
class Coded:
    """One utterance as the codec stores it.

    Attributes:
        payload: whatever the same peer's ``decode`` reads; nothing of the signal goes another way.
        bits: its size, without container.
    """

    payload: object
    bits: float


class AbsPeer(ABC):
    """A codec in one setting.

    Class attributes:
        codec: its name on the command line (``codec:setting``) and in row keys.
        title: its name in tables.
        examples: settings worth trying, for messages.
        rate_source: MEASURED, where the size of the code depends on the signal or on framing, else FORMULA.
    Instance attributes:
        version: of the program or package, and of the weights where there are any.
        weights: "package" (the codec needs none beyond its package), "pretrained" or "random".
        note: what a reader must know beside the numbers.
        inner_rate: Hz at which the codec itself works.
        nominal: bits per second that the setting promises.
        frame_rate, codebook_sizes: codes a second and sizes of the codebooks, None where there are none.

    Args:
        setting: what follows the colon.
        directory: where weights and programs may lie, or None.
        device: torch device of neural codecs.

    Raises:
        SiTokError: from the constructor, for a setting that does not exist.
        PeerUnavailable: from the constructor, if the codec cannot run here, and what to do.
    """

    codec: str
    title: str
    examples: tuple[str, ...]
    rate_source: str
    version: str
    weights: str
    note: str = ""
    inner_rate: int
    nominal: float
    frame_rate: float | None = None
    codebook_sizes: tuple[int, ...] | None = None

    def __init__(self, setting: str, directory: Path | None = None, device: str = "cpu"):
        self.setting = setting
        self.key_of(setting)  # refuses settings that do not exist
        self.directory = directory
        self.device = device

    @classmethod
    @abstractmethod
    def key_of(cls, setting: str) -> str:
        """The setting as it stands in a row's key: letters, digits and _ only.

        Raises:
            SiTokError: there is no such setting; which there are.
        """

    @classmethod
    def label_of(cls, key: str) -> str:
        """The setting in words, from its key."""
        return key.replace("_", " ")

    @classmethod
    def refuse(cls, setting: str, legal: str) -> SiTokError:
        """The error for a setting that does not exist."""
        return SiTokError(f"peer {cls.codec}:{setting}: {legal} (as {cls.codec}:{cls.examples[0]})")

    @abstractmethod
    def encode(self, wav: np.ndarray) -> Coded:
        """Samples (S,) at 24 kHz, S >= 1 -> code."""

    @abstractmethod
    def decode(self, payload: object, samples: int) -> np.ndarray:
        """Code -> ``samples`` samples at 24 kHz, float32, aligned to what was encoded."""

    def __call__(self, wav: np.ndarray, sample_rate: int = SAMPLE_RATE) -> tuple[np.ndarray, float]:
        """Samples (S,) -> (what the codec makes of them (S,), size of the code in bits).

        Raises:
            SiTokError: another sampling rate, or no waveform.
        """
        check_sample_rate(sample_rate, SAMPLE_RATE)
        wav = check_waveform(wav, self.codec)
        coded = self.encode(wav)
        return self.decode(coded.payload, len(wav)), coded.bits

    def about(self) -> dict:
        """The name card, as it stands in results.json."""
        return {"name": f"{self.title}, {self.label_of(self.key_of(self.setting))}"} | {
            key: getattr(self, key) for key in ("version", "weights", "note")
        }

    def identity(self) -> dict:
        """Everything that decides what the peer makes of a signal."""
        return self.about() | {"codec": self.codec, "setting": self.setting, "nominal": self.nominal}


def fit(wav: np.ndarray, samples: int) -> np.ndarray:
    """Cut at the end, or continued with zeros: float32 (samples,)."""
    wav = np.asarray(wav, dtype=np.float32)[:samples]
    return np.pad(wav, (0, samples - len(wav)))


def kilobits_key(kilobits: float) -> str:
    """6 -> 6k, 1.5 -> 1k5."""
    whole, _, rest = f"{kilobits:g}".partition(".")
    return f"{whole}k{rest}"


def kilobits_label(key: str) -> str:
    """6k -> 6 kbit/s, 1k5 -> 1.5 kbit/s."""
    whole, _, rest = key.partition("k")
    return f"{whole}{'.' if rest else ''}{rest} kbit/s"
