"""Word error rate by Whisper."""

import hashlib
import json
from collections.abc import Mapping

import numpy as np
import torch

from sitok_espnet.evaluate.errors import MetricUnavailable
from sitok_espnet.evaluate.local_models import HubModel
from sitok_espnet.evaluate.metrics.abs_error_rate import AbsErrorRate

WHISPER = HubModel(
    name="openai/whisper-large-v3",
    variable="SITOK_WHISPER",
    model_class="WhisperForConditionalGeneration",
    processor_class="WhisperProcessor",
)
WINDOW_SECONDS = 30
WITHOUT_SPACES = ("zh", "ja", "th", "lo", "my", "yue")  # scored by character, as in Whisper's own paper


class WhisperWordErrorRate(AbsErrorRate):
    """Word errors of Whisper (large-v3 unless SITOK_WHISPER names another): greedy, told the language.

    Both texts go through Whisper's own English normaliser, or its basic one for other languages (Radford et al. 2022,
    appendix C), those without spaces are scored by character. Audio beyond 30 s is read window by window with
    Whisper's time stamps.

    Args:
        languages: of the scored utterances.
        foreign: utterance -> language, of those that are not English.
    """

    name = "whisper_wer"
    title = "WER (Whisper)"
    unit = "errors per reference word (character where words are not spaced)"
    sample_rate = 16000

    def __init__(self, languages: tuple[str, ...] = ("en",), foreign: Mapping[str, str] | None = None):
        self._languages, self._foreign = languages, dict(foreign or {})
        self._whisper = WHISPER.open()
        generation = self._whisper.model.generation_config
        self._multilingual = getattr(generation, "is_multilingual", False)
        known = [key.strip("<|>") for key in getattr(generation, "lang_to_id", None) or {}]
        unknown = [language for language in languages if language not in (known if self._multilingual else ["en"])]
        if unknown:
            raise MetricUnavailable(f"{self._whisper.name} does not know the language {', '.join(unknown)} (utt2lang)")
        self.model = f"{self._whisper.name}, greedy, Whisper's normaliser"
        self.version = self._whisper.version

    def card(self) -> dict:
        """The name card, with the languages."""
        return super().card() | {"languages": list(self._languages)}

    def fingerprint(self) -> str:
        """Of the card and of every utterance's language."""
        spoken = json.dumps(self._foreign, sort_keys=True)
        return hashlib.sha256(f"{super().fingerprint()} {spoken}".encode()).hexdigest()[:16]

    def _language(self, utterance: str) -> str:
        return self._foreign.get(utterance, "en")

    def split(self, text: str, utterance: str) -> list[str]:
        """Words, or characters, after Whisper's normalisation."""
        tokenizer, language = self._whisper.processor.tokenizer, self._language(utterance)
        if language == "en":
            return tokenizer.normalize(text).split()
        plain = tokenizer.basic_normalize(text)
        return list("".join(plain.split())) if language in WITHOUT_SPACES else plain.split()

    def transcribe(self, speech: np.ndarray, utterance: str) -> str:
        """The most probable token at every step, without temperature or fallback, so that it repeats."""
        long = len(speech) > WINDOW_SECONDS * self.sample_rate
        spread = {"truncation": False, "padding": "longest"} if long else {}
        prepared = self._whisper.processor(
            speech, sampling_rate=self.sample_rate, return_tensors="pt", return_attention_mask=True, **spread
        ).to(self._whisper.device)
        spoken = {"language": self._language(utterance), "task": "transcribe"} if self._multilingual else {}
        with torch.no_grad():
            tokens = self._whisper.model.generate(
                **prepared, do_sample=False, num_beams=1, return_timestamps=long, **spoken
            )
        return self._whisper.processor.batch_decode(tokens, skip_special_tokens=True)[0].strip()
