"""Quality and time of decoding against the number of solver steps, for a model and its refinements (ours).

All models decode the same tokens with the same noise. The decoders of an utterance run one after another, so that a
machine that slows down slows all of them; every ratio of times is over the same utterances.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from tqdm import tqdm

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate import statistics
from sitok_espnet.evaluate.errors import NotMeasurable
from sitok_espnet.evaluate.metrics import AbsMetric, Measurement, Sample
from sitok_espnet.evaluate.systems import read_recording
from sitok_espnet.inference import SiTok
from sitok_espnet.inputs import AudioInput

CEILING = "copy_synthesis"


@dataclass(frozen=True, order=True)
class Point:
    """A model at a number of steps; 0 for a decoder without steps."""

    model: str
    steps: int


@dataclass
class Curve:
    """What was measured.

    Attributes:
        points: in the order of models and steps.
        metrics: point -> metric -> utterance -> Measurement.
        ceiling: metric -> utterance -> Measurement of copy synthesis: the mel itself through the vocoder.
        seconds: point -> utterance -> seconds from tokens to mel, alone in its batch.
        audio: utterance -> its duration in seconds.
    """

    points: list[Point]
    metrics: dict[Point, dict[str, dict[str, Measurement]]] = field(default_factory=dict)
    ceiling: dict[str, dict[str, Measurement]] = field(default_factory=dict)
    seconds: dict[Point, dict[str, float]] = field(default_factory=dict)
    audio: dict[str, float] = field(default_factory=dict)

    @property
    def reference(self) -> Point:
        """The first model at its largest number of steps: what times are compared with."""
        first = self.points[0].model
        return max(point for point in self.points if point.model == first)


def measure_curve(
    models: Mapping[str, SiTok],
    inputs: Sequence[AudioInput],
    steps: Sequence[int],
    metrics: Mapping[str, AbsMetric],
    texts: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Curve:
    """Decode every utterance with every model at every number of steps.

    Args:
        models: name -> tokenizer, the unrefined one first; all with the same tokens.
        inputs: test utterances at the models' sampling rate.
        steps: numbers of solver steps; a decoder without steps is measured once.
        metrics: name -> metric.
        texts: transcripts, for metrics that need them.
        seed: of the noise.

    Raises:
        SiTokError: models with different tokens, a wrong sampling rate, no input.
    """
    first = _check(models, inputs, steps)
    points = [
        Point(name, number)
        for name, tokenizer in models.items()
        for number in (sorted(set(steps)) if tokenizer.model.decoder.iterative else [0])
    ]
    curve = Curve(points)
    for metric in metrics:
        curve.ceiling[metric] = {}
    for point in points:
        curve.metrics[point] = {metric: {} for metric in metrics}
        curve.seconds[point] = {}
    codes = first.analyze([read_recording(first, inputs[0])], first.sample_rate)
    for point in points:
        _decode(models[point.model], codes, point.steps, seed)  # a first call is slower than the others
    for number, item in enumerate(tqdm(inputs, desc="steps", unit="utt", mininterval=1.0)):
        wav = read_recording(first, item)
        codes = first.analyze([wav], first.sample_rate)
        curve.audio[item.utt] = len(wav) / first.sample_rate
        shift = number % len(points)  # nobody is always the first after the metrics
        mels = {}
        for point in points[shift:] + points[:shift]:
            start = time.perf_counter()
            mels[point] = _decode(models[point.model], codes, point.steps, seed)
            curve.seconds[point][item.utt] = time.perf_counter() - start
        natural = [first.log_mel(wav, first.sample_rate)]
        made = [(curve.ceiling, natural, first)]
        made += [(curve.metrics[point], mels[point], models[point.model]) for point in points]
        for table, mel, tokenizer in made:
            speech = as_written(tokenizer.vocode(mel, [len(wav)])[0])
            sample = Sample(item.utt, wav, speech, first.sample_rate, (texts or {}).get(item.utt))
            for name, metric in metrics.items():
                table[name][item.utt] = _measure(metric, sample)
    return curve


def as_written(wav: np.ndarray) -> np.ndarray:
    """Samples (S,) as a 16-bit file gives them back (libsndfile rounds down): what stage 8 scores."""
    return (np.floor(np.clip(wav, -1.0, 32767 / 32768) * 32768) / 32768).astype(np.float32)


def _check(models: Mapping[str, SiTok], inputs: Sequence[AudioInput], steps: Sequence[int]) -> SiTok:
    if not inputs:
        raise SiTokError("no utterances: is wav.scp empty?")
    if not steps or min(steps) < 1:
        raise SiTokError(f"--steps must be whole numbers from 1 on, not {list(steps)}")
    first, *others = models.values()
    for tokenizer in others:
        if tokenizer.codes_hash != first.codes_hash:
            raise SiTokError(
                f"{tokenizer.directory} has other tokens (codes_hash {tokenizer.codes_hash}) than {first.directory} "
                f"({first.codes_hash}): the curve compares decoders of the same tokens, as stage 6 makes them"
            )
    return first


def _decode(tokenizer: SiTok, codes: list[np.ndarray], steps: int, seed: int) -> list[np.ndarray]:
    return tokenizer.decode_mel(codes, seed=seed, **({"steps": steps} if steps else {}))


def _measure(metric: AbsMetric, sample: Sample) -> Measurement:
    try:
        return metric.measure(sample)
    except NotMeasurable as error:
        return Measurement(float("nan"), 0.0, notice=str(error))


def curve_results(curve: Curve, metrics: Mapping[str, AbsMetric], resamples: int, seed: int) -> dict:
    """Corpus values with intervals, and the paired differences to the first model at equal steps, ready for JSON."""
    options = (resamples, seed)

    def interval(measurements: Mapping[str, Measurement]) -> dict | None:
        try:
            return asdict(statistics.bootstrap([measurements[utt] for utt in sorted(measurements)], *options))
        except SiTokError as error:
            logging.warning("no utterance could be measured: %s", error)
            return None

    def ratio(seconds: Mapping[str, float], to: Mapping[str, float]) -> dict | None:
        return interval({utt: Measurement(seconds[utt], to[utt]) for utt in seconds})

    reference = curve.seconds[curve.reference]
    rows = [
        {
            "model": point.model,
            "steps": point.steps or None,
            "metrics": {name: interval(values) for name, values in curve.metrics[point].items()},
            "time_ratio": ratio(curve.seconds[point], reference),
            "real_time_factor": ratio(curve.seconds[point], curve.audio),
        }
        for point in curve.points
    ]
    return {
        "metrics": {name: metric.card() for name, metric in metrics.items()},
        "ceiling": {name: interval(values) for name, values in curve.ceiling.items()},
        "time_reference": {"model": curve.reference.model, "steps": curve.reference.steps or None},
        "rows": rows,
        "differences": _differences(curve, metrics, options),
        "utterances": {
            utt: {
                "seconds": {f"{point.model} {point.steps}": curve.seconds[point][utt] for point in curve.points},
                "audio": audio,
            }
            for utt, audio in curve.audio.items()
        },
    }


def _differences(curve: Curve, metrics: Mapping[str, AbsMetric], options: tuple[int, int]) -> list[dict]:
    """Every later model minus the first, at equal steps (a first model without steps is compared with all)."""
    base = {point.steps: point for point in curve.points if point.model == curve.points[0].model}
    found = []
    for point in curve.points:
        other = base.get(point.steps) or base.get(0)
        if other is None or point.model == other.model:
            continue
        cells = {}
        for name, metric in metrics.items():
            pair = (curve.metrics[point][name], curve.metrics[other][name])
            try:
                cells[name] = statistics.compare(*pair, metric.higher_is_better, *options)
            except SiTokError:  # no utterance could be measured: the row of the model says so
                cells[name] = None
        found.append({"first": point.model, "second": other.model, "steps": point.steps or None, "metrics": cells})
    return found
