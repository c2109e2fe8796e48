"""Word error rate by HuBERT with a CTC output."""

import numpy as np
import torch

from sitok_espnet.evaluate.errors import MetricUnavailable
from sitok_espnet.evaluate.local_models import SHORTEST, HubModel
from sitok_espnet.evaluate.metrics.abs_error_rate import AbsErrorRate
from sitok_espnet.evaluate.text import normalize_words

HUBERT = HubModel(
    name="facebook/hubert-large-ls960-ft",
    variable="SITOK_HUBERT",
    model_class="HubertForCTC",
    processor_class="Wav2Vec2Processor",
    unused=("masked_spec_embed",),
)


class HubertWordErrorRate(AbsErrorRate):
    """Word errors of HuBERT-large fine-tuned on LibriSpeech: greedy CTC, no language model, English only.

    Both texts go through `normalize_words`; the model writes numbers out, so the transcripts must.

    Args:
        languages: of the scored utterances.
    """

    name = "hubert_wer"
    title = "WER (HuBERT)"
    unit = "errors per reference word"
    sample_rate = 16000

    def __init__(self, languages: tuple[str, ...] = ("en",)):
        if languages != ("en",):
            raise MetricUnavailable(f"{HUBERT.name} knows English only, this set is {', '.join(languages)}")
        self._hubert = HUBERT.open()
        self.model = f"{self._hubert.name}, greedy CTC"
        self.version = self._hubert.version

    def split(self, text: str, utterance: str) -> list[str]:
        """Words after the common normalisation."""
        return normalize_words(text)

    def transcribe(self, speech: np.ndarray, utterance: str) -> str:
        """Best path without blanks and repetitions; too little audio for a frame is filled up with silence."""
        speech = np.pad(speech, (0, max(0, SHORTEST - len(speech))))
        prepared = self._hubert.processor(speech, sampling_rate=self.sample_rate, return_tensors="pt")
        with torch.no_grad():
            logits = self._hubert.model(**prepared.to(self._hubert.device)).logits
        return self._hubert.processor.batch_decode(logits.argmax(dim=-1))[0]
