"""Opus (RFC 6716) by the libopus inside PyAV's wheel, in its mode for speech."""

from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from sitok_espnet.audio import resample
from sitok_espnet.evaluate.peers.abs_peer import (
    MEASURED,
    SAMPLE_RATE,
    AbsPeer,
    Coded,
    PeerUnavailable,
    fit,
    kilobits_key,
    kilobits_label,
)

DECODED_RATE = 48000  # Hz, of the decoder's output and of the unit in which Opus counts
LOWEST, HIGHEST = 6.0, 510.0  # kbit/s, RFC 6716 section 2.1.1
FRAMES = (10, 20, 40, 60)  # ms; 20 is the encoder's own default
_PRE_SKIP = slice(10, 12)  # of the header "OpusHead" (RFC 7845 section 5.1), little endian, samples at 48 kHz


class Opus(AbsPeer):
    """``opus:KBITS`` or ``opus:KBITS:MS``: target rate in kbit/s and duration of a frame (20 ms unless given).

    Variable rate, application "voip". Counted are the bytes of all packets, as they would go into a container, up to
    the one in which the last sample leaves the decoder. Times include resampling the decoder's 48 kHz.
    """

    codec = "opus"
    title = "Opus"
    examples = ("6", "8", "12", "6:60")
    rate_source = MEASURED
    inner_rate = SAMPLE_RATE
    weights = "package"

    def __init__(self, setting: str, directory: Path | None = None, device: str = "cpu"):
        super().__init__(setting, directory, device)
        try:
            self.version = f"libopus of PyAV {version('av')}"
        except PackageNotFoundError as error:
            raise PeerUnavailable("PyAV is not installed: pip install av") from error
        kilobits, self.frame_ms = self._parse(setting)
        self.nominal = 1000 * kilobits
        self.note = f"voip, variable rate, frames of {self.frame_ms} ms"

    @classmethod
    def _parse(cls, setting: str) -> tuple[float, int]:
        kilobits, _, frame = setting.partition(":")
        try:
            values = float(kilobits), int(frame or 20)
        except ValueError:
            values = 0.0, 0
        if not LOWEST <= values[0] <= HIGHEST or values[1] not in FRAMES:
            frames = ", ".join(map(str, FRAMES))
            raise cls.refuse(setting, f"expected {LOWEST:g} to {HIGHEST:g} kbit/s and optionally :{frames} ms")
        return values

    @classmethod
    def key_of(cls, setting: str) -> str:
        kilobits, frame = cls._parse(setting)
        return kilobits_key(kilobits) + (f"_{frame}ms" if ":" in setting else "")

    @classmethod
    def label_of(cls, key: str) -> str:
        kilobits, _, frame = key.partition("_")
        return kilobits_label(kilobits) + (f", frames of {frame.removesuffix('ms')} ms" if frame else "")

    def encode(self, wav: np.ndarray) -> Coded:
        """Payload: (stream header, packets)."""
        import av

        encoder = av.CodecContext.create("libopus", "w")
        encoder.sample_rate, encoder.layout, encoder.format = SAMPLE_RATE, "mono", "flt"
        encoder.bit_rate = round(self.nominal)
        encoder.options = {"application": "voip", "vbr": "on", "frame_duration": str(self.frame_ms)}
        encoder.open()
        header, size = bytes(encoder.extradata), SAMPLE_RATE * self.frame_ms // 1000
        delay = int.from_bytes(header[_PRE_SKIP], "little") * SAMPLE_RATE // DECODED_RATE
        padded = fit(wav, -(-(len(wav) + delay) // size) * size)
        packets = []
        for start in range(0, len(padded), size):
            frame = av.AudioFrame.from_ndarray(padded[None, start : start + size], format="flt", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
            packets += [bytes(packet) for packet in encoder.encode(frame)]
        packets += [bytes(packet) for packet in encoder.encode(None)]
        packets = packets[: len(padded) // size]  # the encoder's own flush codes one more frame of nothing
        return Coded((header, tuple(packets)), 8 * sum(map(len, packets)))

    def decode(self, payload: tuple[bytes, tuple[bytes, ...]], samples: int) -> np.ndarray:
        """The decoder leaves out the encoder's delay, which the header states."""
        import av

        header, packets = payload
        decoder = av.CodecContext.create("libopus", "r")
        decoder.extradata = header
        frames = [frame for packet in packets for frame in decoder.decode(av.Packet(packet))]
        frames += decoder.decode(None)
        pcm = np.concatenate([frame.to_ndarray()[0] for frame in frames])
        if np.issubdtype(pcm.dtype, np.integer):
            pcm = pcm / -float(np.iinfo(pcm.dtype).min)
        return fit(resample(pcm.astype(np.float32), DECODED_RATE, SAMPLE_RATE), samples)
