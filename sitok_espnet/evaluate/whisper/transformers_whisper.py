"""Whisper by transformers, from a folder of ``save_pretrained`` or the hub's cache."""

import numpy as np
import torch

from sitok_espnet.evaluate.local_models import HubModel
from sitok_espnet.evaluate.whisper.abs_whisper import SAMPLE_RATE, AbsWhisper, TextNormalizer

HUB = HubModel(
    name="openai/whisper-large-v3",
    variable="SITOK_WHISPER",
    model_class="WhisperForConditionalGeneration",
    processor_class="WhisperProcessor",
)
WINDOW_SECONDS = 30
SIZES = {384: "tiny", 512: "base", 768: "small", 1024: "medium", 1280: "large"}  # by width


class TransformersWhisper(AbsWhisper):
    """The float32 model; audio beyond 30 s is read window by window with Whisper's time stamps.

    Raises:
        MetricUnavailable: no such weights on this machine.
    """

    def __init__(self):
        self._loaded = HUB.open()
        generation = self._loaded.model.generation_config
        self._multilingual = getattr(generation, "is_multilingual", False)
        known = [key.strip("<|>") for key in getattr(generation, "lang_to_id", None) or {}]
        self.languages = tuple(known) if self._multilingual else ("en",)
        self.normalizer = TextNormalizer(self._loaded.processor.tokenizer.english_spelling_normalizer)
        self.size = SIZES.get(self._loaded.model.config.d_model, "")
        self.name, self.version = self._loaded.name, self._loaded.version

    def transcribe(self, speech: np.ndarray, language: str) -> str:
        """The most probable token at every step."""
        long = len(speech) > WINDOW_SECONDS * SAMPLE_RATE
        spread = {"truncation": False, "padding": "longest"} if long else {}
        prepared = self._loaded.processor(
            speech, sampling_rate=SAMPLE_RATE, return_tensors="pt", return_attention_mask=True, **spread
        ).to(self._loaded.device)
        spoken = {"language": language, "task": "transcribe"} if self._multilingual else {}
        with torch.no_grad():
            tokens = self._loaded.model.generate(
                **prepared, do_sample=False, num_beams=1, return_timestamps=long, **spoken
            )
        return self._loaded.processor.batch_decode(tokens, skip_special_tokens=True)[0].strip()
