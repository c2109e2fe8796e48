"""Speaker similarity by WavLM's x-vectors."""

import numpy as np
import torch

from sitok_espnet.audio import resample
from sitok_espnet.evaluate.errors import NotMeasurable
from sitok_espnet.evaluate.local_models import HubModel
from sitok_espnet.evaluate.memory import remember_last
from sitok_espnet.evaluate.metrics.abs_metric import AbsMetric, Measurement, Sample

WAVLM = HubModel(
    name="microsoft/wavlm-base-plus-sv",
    variable="SITOK_WAVLM",
    model_class="WavLMForXVector",
    processor_class="Wav2Vec2FeatureExtractor",
    unused=("masked_spec_embed", "objective.weight"),  # of the two trainings
)
SHORTEST_SECONDS = 0.5


class WavLMSimilarity(AbsMetric):
    """Cosine of WavLM x-vectors of the hypothesis and of the original of the same utterance.

    Not the paper's number: SIM of the paper (and of SeedTTS) comes from WavLM-*large* fine-tuned by UniSpeech with an
    ECAPA-TDNN head (``wavlm_large_finetune.pth``, a file of its own project that `transformers` does not read). This is
    WavLM-base-plus with an x-vector head, whose values are higher; compare systems within a table, not with the paper.
    """

    name = "wavlm_sim"
    title = "SIM (WavLM)"
    unit = "cosine"
    higher_is_better = True
    sample_rate = 16000
    intrusive = True
    decimals = 3

    def __init__(self):
        self._wavlm = WAVLM.open()
        self.model = f"{self._wavlm.name}, x-vector"
        self.version = self._wavlm.version
        self._embed_reference = remember_last(self._embed)

    def _embed(self, speech: np.ndarray) -> np.ndarray:
        """(S,) at 16 kHz -> unit vector (D,)."""
        if len(speech) < SHORTEST_SECONDS * self.sample_rate:
            raise NotMeasurable(f"less than {SHORTEST_SECONDS} s")
        if not np.any(speech):
            raise NotMeasurable("silent audio")
        prepared = self._wavlm.processor(speech, sampling_rate=self.sample_rate, return_tensors="pt")
        with torch.no_grad():
            embedding = self._wavlm.model(**prepared.to(self._wavlm.device)).embeddings[0]
        return torch.nn.functional.normalize(embedding, dim=0).cpu().numpy()

    def measure(self, sample: Sample) -> Measurement:
        """Cosine similarity of one utterance."""
        reference = self._embed_reference(resample(sample.reference, sample.sample_rate, self.sample_rate))
        hypothesis = self._embed(resample(sample.hypothesis, sample.sample_rate, self.sample_rate))
        return Measurement(float(np.dot(reference, hypothesis)))
