"""Speaker similarity: cosine of two voice embeddings."""

import numpy as np

from sitok_espnet.audio import resample
from sitok_espnet.evaluate.memory import remember_last
from sitok_espnet.evaluate.metrics.abs_metric import AbsMetric, Measurement, Sample
from sitok_espnet.evaluate.speaker_encoder import SpeakerEncoder


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
        encoder = SpeakerEncoder()
        self.model, self.version = encoder.model, encoder.version
        self._embed = encoder.embed
        self._embed_reference = remember_last(encoder.embed)

    def measure(self, sample: Sample) -> Measurement:
        """Cosine similarity of one utterance."""
        reference, _ = self._embed_reference(resample(sample.reference, sample.sample_rate, self.sample_rate))
        hypothesis, voiced = self._embed(resample(sample.hypothesis, sample.sample_rate, self.sample_rate))
        notice = "" if voiced else "no voice found: compared whole"
        return Measurement(float(np.dot(reference, hypothesis)), notice=notice)
