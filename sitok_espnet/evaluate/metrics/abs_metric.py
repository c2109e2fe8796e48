"""The contract of a metric: a name card and one measurement per utterance (ours).

A corpus value is always sum(numerators) / sum(denominators), so that means (denominator 1) and pooled ratios such as
WER (errors / words) go through the same bootstrap.
"""

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

KEY_LENGTH = 24  # hex digits


@dataclass(frozen=True)
class Sample:
    """One utterance of one system beside its reference.

    Attributes:
        utterance: id.
        reference: (S,) float32 samples in [-1, 1], the original recording.
        hypothesis: (S',) float32 samples, what the system made of it.
        sample_rate: Hz, of both.
        text: transcript of the reference, None if there is none.
    """

    utterance: str
    reference: np.ndarray
    hypothesis: np.ndarray
    sample_rate: int
    text: str | None = None


@dataclass(frozen=True)
class Measurement:
    """One utterance's share of a ratio.

    Attributes:
        numerator, denominator: the utterance's value is their quotient; NaN and 0 if it was excluded.
        detail: what a reader may want beside the number, such as the recognised words.
        notice: what a reader must know: that audio was clipped, or why the utterance was excluded.
    """

    numerator: float
    denominator: float = 1.0
    detail: str = ""
    notice: str = ""

    @property
    def excluded(self) -> bool:
        """True if the utterance does not count."""
        return not (math.isfinite(self.numerator) and self.denominator > 0)

    @property
    def value(self) -> float:
        """numerator / denominator, NaN if excluded."""
        return math.nan if self.excluded else self.numerator / self.denominator


class AbsMetric(ABC):
    """A number per utterance.

    Class attributes (the name card; every table and JSON file prints it):
        name: key on the command line and in results.json.
        title: column heading.
        unit: what one unit of the number is.
        higher_is_better: direction.
        sample_rate: Hz at which the metric listens; the audio is resampled to it (sitok_espnet.audio) where it differs.
        intrusive: True if it compares with the reference, so that the reference itself is trivially perfect.
        costly: True if an utterance takes seconds: by default it judges only the rows that a table is about
            (sitok_espnet.evaluate.judged).
        decimals: digits after the point in the table.
    Instance attributes:
        model, version: which model in which version gave the number.

    Raises:
        MetricUnavailable: from the constructor, with a remedy, if a package or a file is missing.
    """

    name: str
    title: str
    unit: str
    higher_is_better: bool
    sample_rate: int
    intrusive: bool = False
    costly: bool = False
    decimals: int = 2
    model: str
    version: str

    @abstractmethod
    def measure(self, sample: Sample) -> Measurement:
        """Measure one utterance.

        Raises:
            NotMeasurable: the utterance cannot be measured; it is reported as excluded.
        """

    def refusal(self, text: str | None, utterance: str) -> str:
        """Why this utterance is excluded, whatever its audio is; empty if it is not."""
        return ""

    def observe(self, sample: Sample) -> Measurement:
        """What is kept in the cache: by default the measurement itself.

        Raises:
            NotMeasurable: as :meth:`measure`.
        """
        return self.measure(sample)

    def conclude(self, observed: Measurement, text: str | None, utterance: str) -> Measurement:
        """The measurement, from what was observed; by default the same."""
        return observed

    def cache_key(self, utterance: str, hypothesis: str, reference: str) -> str:
        """What an observation is kept under: hashes of the audio that is heard, and of the metric."""
        heard = f"{hypothesis} {reference}" if self.intrusive else hypothesis
        return digest_key(f"{self.fingerprint()} {heard}")

    def extras(self, texts: Mapping[str, str], measurements: Mapping[str, Measurement]) -> dict:
        """More keys for a system's cell of results.json, from its measured utterances and their transcripts."""
        return {}

    def remarks(self, text: str | None, utterance: str, measurement: Measurement) -> dict:
        """More keys for an utterance that counts, in results.json."""
        return {}

    def card(self) -> dict:
        """The name card, as it stands in results.json."""
        return {
            "name": self.name,
            "title": self.title,
            "unit": self.unit,
            "direction": "higher is better" if self.higher_is_better else "lower is better",
            "model": self.model,
            "version": self.version,
            "sample_rate": self.sample_rate,
            "intrusive": self.intrusive,
            "decimals": self.decimals,
        }

    def fingerprint(self) -> str:
        """Changes whenever cached measurements of this metric may no longer be used."""
        return hashlib.sha256(json.dumps(self.card(), sort_keys=True).encode()).hexdigest()[:16]


def digest_key(text: str) -> str:
    """KEY_LENGTH hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]
