"""What to score and what came out of it: the two dataclasses that the parts of results.json are made from."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate import statistics
from sitok_espnet.evaluate.metrics import AbsMetric, Measurement
from sitok_espnet.inputs import AudioInput


@dataclass(frozen=True)
class Request:
    """What to score.

    Attributes:
        eval_dir: what sitok_synth_systems or `sitok eval` filled.
        data_dir: the originals: wav.scp and, where there are such, text, utt2spk and utt2lang.
        systems, metrics: names, in the order of rows and columns.
        train_text: transcripts for the recogniser's language model, or None.
        train_tokens: token dump of the training set, or None.
        resamples, seed: of the bootstrap.
        processes: worker processes.
        tokenizer: whether the audio was made by sitok_synth_systems, so that there is a tokenizer to report on; False
            for anybody's audio.
        prompts: wav.scp of another recording of each utterance's speaker, for the metrics that compare with it.
        judge_all: whether costly metrics judge every row, see :mod:`sitok_espnet.evaluate.judged`.
        cache: file of measurements, which other evaluations may share; None: one of this evaluation.
    """

    eval_dir: Path
    data_dir: Path
    systems: tuple[str, ...]
    metrics: tuple[str, ...]
    train_text: Path | None = None
    train_tokens: Path | None = None
    resamples: int = statistics.RESAMPLES
    seed: int = 0
    processes: int = 1
    tokenizer: bool = True
    prompts: Path | None = None
    judge_all: bool = False
    cache: Path | None = None


@dataclass(frozen=True)
class Scores:
    """All measurements: system -> metric -> utterance -> Measurement, and why pieces are missing.

    ``judged``: of metrics that do not measure every row, those that they do.
    """

    references: list[AudioInput]
    texts: dict[str, str]
    audio: dict[str, dict[str, AudioInput]]
    metrics: dict[str, AbsMetric]
    values: dict[str, dict[str, dict[str, Measurement]]]
    missing_systems: dict[str, str] = field(default_factory=dict)
    missing_metrics: dict[str, str] = field(default_factory=dict)
    judged: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def is_judged(self, system: str, metric: str) -> bool:
        """Whether the metric was to measure this row."""
        return system in self.judged.get(metric, (system,))


def not_run(reason: object) -> dict:
    """The cell of a number that is not there."""
    return {"status": "not run", "reason": " ".join(str(reason).split())}


def attempt(make: Callable[[], dict]) -> dict:
    """The cell of a number: ``status`` measured and what ``make`` gives, or why it is not there."""
    try:
        return {"status": "measured", **make()}
    except SiTokError as error:
        return not_run(error)
