"""One WORLD analysis of a signal, shared by the metrics that need pitch or spectral envelope (pyworld).

Pitch is DIO refined by StoneMask (Morise et al. 2009, 2010), the envelope CheapTrick's (Morise 2015), at 16 kHz every
5 ms. Harvest, WORLD's newer pitch tracker, calls nearly every frame voiced (93 % of our prompts, pauses included), so
that its voicing says little, and costs forty times as much.
"""

import warnings
from importlib.metadata import version

import numpy as np

from sitok_espnet.evaluate.errors import MetricUnavailable
from sitok_espnet.evaluate.memory import remember_last

SAMPLE_RATE = 16000
FRAME_MS = 5.0
PITCH_FLOOR, PITCH_CEILING = 60.0, 600.0  # Hz


class World:
    """Pitch and envelope of float samples (S,) at 16 kHz; frame f is centred at 5 f ms, F = floor(S / 80) + 1.

    The last few signals are remembered: every metric and every system of an utterance asks for the same original.

    Raises:
        MetricUnavailable: pyworld cannot be imported.
    """

    def __init__(self):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pyworld imports the deprecated pkg_resources
                import pyworld
        except ImportError as error:
            raise MetricUnavailable(f"pyworld cannot be imported ({error}): pip install pyworld") from error
        self._world = pyworld
        self.version = version("pyworld")
        self.pitch = remember_last(self._pitch)
        self.envelope = remember_last(self._envelope)

    def _pitch(self, speech: np.ndarray) -> np.ndarray:
        """(S,) -> (F,) fundamental frequency in Hz, 0 where the frame is unvoiced."""
        speech = _doubles(speech)
        coarse, times = self._world.dio(
            speech, SAMPLE_RATE, f0_floor=PITCH_FLOOR, f0_ceil=PITCH_CEILING, frame_period=FRAME_MS
        )
        return self._world.stonemask(speech, coarse, times, SAMPLE_RATE)

    def _envelope(self, speech: np.ndarray) -> np.ndarray:
        """(S,) -> (F, 513) power spectral envelope from 0 to 8,000 Hz, positive also in silence."""
        pitch = self.pitch(speech)
        times = np.arange(len(pitch)) * FRAME_MS / 1000.0
        return self._world.cheaptrick(_doubles(speech), pitch, times, SAMPLE_RATE, f0_floor=PITCH_FLOOR)


def _doubles(speech: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(speech, dtype=np.float64)
