"""Speaker similarity to a prompt: another recording of the speaker, as the zero-shot test sets have one."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from sitok_espnet.audio import resample
from sitok_espnet.evaluate.errors import MetricUnavailable, NotMeasurable
from sitok_espnet.evaluate.metrics.abs_metric import AbsMetric, Measurement, Sample
from sitok_espnet.inputs import AudioInput


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
        """The name card, with a hash of the list of prompts (places and sizes of the files)."""
        lines = [f"{item.utt} {item.location} {_size(item.location)}" for item in self._prompts.values()]
        return super().card() | {"prompts": hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()[:16]}

    def measure(self, sample: Sample) -> Measurement:
        """Similarity of the system's audio to the prompt of the utterance."""
        if sample.utterance not in self._prompts:
            raise NotMeasurable("no prompt")
        wav, rate = self._prompts[sample.utterance].read()
        prompt = resample(wav, rate, sample.sample_rate)
        return self._compare.measure(
            Sample(sample.utterance, prompt, sample.hypothesis, sample.sample_rate, sample.text)
        )


def _size(location: str) -> int:
    path = Path(location)
    return path.stat().st_size if path.is_file() else 0  # an archive entry has no size of its own
