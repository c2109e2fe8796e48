"""Speaker similarity to a prompt: another recording of the speaker, as the zero-shot test sets have one."""

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property

from sitok_espnet.audio import resample
from sitok_espnet.evaluate.errors import MetricUnavailable, NotMeasurable
from sitok_espnet.evaluate.metrics.abs_metric import AbsMetric, Measurement, Sample, digest_key
from sitok_espnet.inputs import AudioInput, audio_hash


class PromptSimilarity(AbsMetric):
    """A similarity of voices, with the utterance's prompt in the place of its original.

    It says what the same-utterance similarity cannot: how alike two recordings of one speaker are to the encoder, for
    the originals too (SIM of "ground truth" in PAPER section 4 is that of SeedTTS, against the prompt).

    Args:
        build: builds the metric that compares; it must not need equally long audio.
        prompts: utterance ids with a recording each, of any sampling rate.
    """

    higher_is_better = True
    intrusive = False  # the original is compared with its prompt, not with itself

    def __init__(self, build: Callable[[], AbsMetric], prompts: Sequence[AudioInput]):
        if not prompts:
            raise MetricUnavailable(
                "no prompts: give a wav.scp of another recording of each speaker (option --prompts)"
            )
        self._compare = compare = build()
        self._prompts = {item.utt: item for item in prompts}
        self.name, self.title = f"{compare.name}_prompt", f"{compare.title} to the prompt"
        self.unit, self.decimals, self.sample_rate = compare.unit, compare.decimals, compare.sample_rate
        self.model, self.version = compare.model, compare.version

    def card(self) -> dict:
        """The name card, with a hash of who is prompted by which samples."""
        return super().card() | {"prompts": self._hash}

    @cached_property
    def _hash(self) -> str:
        known: dict[str, str] = {}  # one recording may prompt many utterances
        for item in self._prompts.values():
            if item.location not in known:
                known[item.location] = audio_hash(item)
        lines = sorted(f"{item.utt} {known[item.location]}" for item in self._prompts.values())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    def cache_key(self, utterance: str, hypothesis: str, reference: str) -> str:
        """Of the utterance too, which decides the prompt."""
        return digest_key(f"{super().cache_key(utterance, hypothesis, reference)} {utterance}")

    def measure(self, sample: Sample) -> Measurement:
        """Similarity of the system's audio to the prompt of the utterance."""
        if sample.utterance not in self._prompts:
            raise NotMeasurable("no prompt")
        wav, rate = self._prompts[sample.utterance].read()
        prompt = resample(wav, rate, sample.sample_rate)
        return self._compare.measure(
            Sample(sample.utterance, prompt, sample.hypothesis, sample.sample_rate, sample.text)
        )
