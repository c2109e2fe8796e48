"""Fixed-length pieces of utterances with their surroundings, for vocoder training."""

from dataclasses import dataclass, field

import numpy as np

from sitok_espnet.draws import utterance_generator
from sitok_espnet.errors import SiTokError
from sitok_espnet.nn.distributed import rank
from sitok_espnet.sitok.mel.config import MelConfig


def context_frames(config: MelConfig) -> int:
    """Frames on each side whose windows reach over the edge of a segment: with as many more hops of real audio around
    it, the mel of a segment is the mel of the whole utterance there."""
    return -(-config.pad // config.hop_length)


@dataclass(frozen=True)
class SegmentCutter:
    """Preprocessor of ESPnet's data loader: speech (S,) -> (samples + 2 context hops,).

    A random position where `random` (from the utterance's own generator, sitok_espnet/draws.py), the middle otherwise.
    What lies outside the utterance is zero, as in LogMel's framing; an utterance shorter than the segment begins with
    it.

    Attributes:
        config: the mel; the context is `context_frames` hops on each side.
        samples: length of the segment, a multiple of the hop.
        random: whether positions are drawn.
        rank: of the training process.
    """

    config: MelConfig
    samples: int
    random: bool
    rank: int = field(default_factory=rank)

    def __post_init__(self) -> None:
        if self.samples < 1 or self.samples % self.config.hop_length:
            raise SiTokError(
                f"a segment of {self.samples} samples is no multiple of the mel's hop {self.config.hop_length}: change "
                "--segment_samples or --valid_segment_samples"
            )

    def __call__(self, uid: str, data: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Cut `speech`; SiTokError for audio that is not one channel."""
        speech = data["speech"]
        if speech.ndim != 1:
            raise SiTokError(
                f"utterance {uid}: expected one channel, got an array of shape {speech.shape}: run stage 2"
            )
        surplus = max(len(speech) - self.samples, 0)
        start = surplus // 2
        if self.random:
            start = int(utterance_generator(uid, self.rank).integers(surplus + 1))
        context = context_frames(self.config) * self.config.hop_length
        first, last = start - context, start + self.samples + context
        inside = speech[max(first, 0) : last]
        before = max(-first, 0)
        piece = np.zeros(last - first, dtype=speech.dtype)
        piece[before : before + len(inside)] = inside
        return {**data, "speech": piece}
