"""The offline voice encoder: resemblyzer, with the weights of its wheel. Shared by SIM and speaker verification."""

import warnings
from importlib.metadata import version

import numpy as np

from sitok_espnet.evaluate.errors import MetricUnavailable, NotMeasurable


class SpeakerEncoder:
    """Speech at 16 kHz -> an embedding of the voice, of length one.

    Audio goes through resemblyzer's own preparation (loudness, removal of long silences).

    Raises:
        MetricUnavailable: resemblyzer is not installed.
    """

    sample_rate = 16000

    def __init__(self):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # resemblyzer imports scipy by an old name
                import resemblyzer
        except ImportError as error:
            raise MetricUnavailable(
                f"resemblyzer cannot be imported ({error}): pip install webrtcvad-wheels librosa and "
                "pip install --no-deps resemblyzer==0.1.4"
            ) from error
        self.model = "resemblyzer VoiceEncoder (weights of its wheel)"
        self.version = version("resemblyzer")
        self._prepare = resemblyzer.preprocess_wav
        self._encoder = resemblyzer.VoiceEncoder("cpu", verbose=False)

    def embed(self, speech: np.ndarray) -> tuple[np.ndarray, bool]:
        """(S,) samples -> embedding (256,) and whether the voice detector found voice in it.

        Raises:
            NotMeasurable: digital silence.
        """
        if not np.any(speech):
            raise NotMeasurable("silent audio")
        # The preparation rounds to 16 bits, where samples beyond 1 would wrap around.
        speech = np.clip(speech, -1.0, 1.0)
        voiced = self._prepare(speech)
        # Leaving out the utterances without any voice would flatter the system that made them.
        return self._encoder.embed_utterance(voiced if len(voiced) else speech), len(voiced) > 0
