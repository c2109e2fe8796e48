"""Speaker similarity: cosine of two voice embeddings."""

import warnings
from importlib.metadata import version

import numpy as np

from sitok_espnet.audio import resample
from sitok_espnet.evaluate.errors import MetricUnavailable, NotMeasurable
from sitok_espnet.evaluate.memory import remember_last
from sitok_espnet.evaluate.metrics.abs_metric import AbsMetric, Measurement, Sample


class SpeakerSimilarity(AbsMetric):
    """Cosine between resemblyzer's embeddings of the hypothesis and of the original of the same utterance.

    Both go through resemblyzer's own preparation (loudness, removal of long silences) at 16 kHz; where its voice
    detector finds none, the whole utterance is compared and the notice says so. Digital silence is excluded.
    """

    name = "sim"
    title = "SIM"
    unit = "cosine"
    higher_is_better = True
    sample_rate = 16000
    intrusive = True
    decimals = 3

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
        self._embed_reference = remember_last(self._embed)

    def _embed(self, speech: np.ndarray) -> tuple[np.ndarray, bool]:
        """Embedding (256,) and whether the voice detector found voice in it."""
        if not np.any(speech):
            raise NotMeasurable("silent audio")
        # The preparation rounds to 16 bits, where samples beyond 1 would wrap around.
        speech = np.clip(speech, -1.0, 1.0)
        voiced = self._prepare(speech)
        # Leaving out the utterances without any voice would flatter the system that made them.
        return self._encoder.embed_utterance(voiced if len(voiced) else speech), len(voiced) > 0

    def measure(self, sample: Sample) -> Measurement:
        """Cosine similarity of one utterance."""
        reference, _ = self._embed_reference(resample(sample.reference, sample.sample_rate, self.sample_rate))
        hypothesis, voiced = self._embed(resample(sample.hypothesis, sample.sample_rate, self.sample_rate))
        notice = "" if voiced else "no voice found: compared whole"
        return Measurement(float(np.dot(reference, hypothesis)), notice=notice)
