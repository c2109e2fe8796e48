"""Quality and time of decoding against solver steps and temperature, for a model and its refinements (ours).

All models decode the same tokens with the same noise, scaled by the temperature. The decoders of an utterance run one
after another, so that a machine that slows down slows all of them; every ratio of times is over the same utterances.
"""

import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from tqdm import tqdm

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate import statistics
from sitok_espnet.evaluate.errors import NotMeasurable
from sitok_espnet.evaluate.metrics import AbsMetric, Measurement, Sample
from sitok_espnet.evaluate.score_cache import Entry, ScoreCache
from sitok_espnet.evaluate.systems import read_recording
from sitok_espnet.inference import SiTok
from sitok_espnet.inputs import AudioInput, samples_hash
from sitok_espnet.sitok.decoder.abs_decoder import DEFAULT_TEMPERATURE

CEILING = "copy_synthesis"


@dataclass(frozen=True, order=True)
class Point:
    """A model at a number of steps and a temperature; 0 steps for a decoder without them, which has neither."""

    model: str
    steps: int
    temperature: float = DEFAULT_TEMPERATURE

    def card(self) -> dict:
        """Its keys in steps.json."""
        return {
            "model": self.model,
            "steps": self.steps or None,
            "temperature": self.temperature if self.steps else None,
        }


@dataclass
class Curve:
    """What was measured.

    Attributes:
        points: in the order of models, temperatures and steps.
        metrics: point -> metric -> utterance -> Measurement.
        ceiling: metric -> utterance -> Measurement of copy synthesis: the mel itself through the vocoder.
        seconds: point -> utterance -> seconds from tokens to mel, alone in its batch.
        audio: utterance -> its duration in seconds.
        original: as ceiling, of the recordings themselves, for metrics that do not compare with them.
    """

    points: list[Point]
    metrics: dict[Point, dict[str, dict[str, Measurement]]] = field(default_factory=dict)
    ceiling: dict[str, dict[str, Measurement]] = field(default_factory=dict)
    seconds: dict[Point, dict[str, float]] = field(default_factory=dict)
    audio: dict[str, float] = field(default_factory=dict)
    original: dict[str, dict[str, Measurement]] = field(default_factory=dict)

    @property
    def reference(self) -> Point:
        """The first model at its most steps and its first temperature: what times are compared with."""
        first = [point for point in self.points if point.model == self.points[0].model]
        return max(first, key=lambda point: point.steps)


def measure_curve(
    models: Mapping[str, SiTok],
    inputs: Sequence[AudioInput],
    steps: Sequence[int],
    metrics: Mapping[str, AbsMetric],
    texts: Mapping[str, str] | None = None,
    seed: int = 0,
    temperatures: Sequence[float] = (DEFAULT_TEMPERATURE,),
    cache: ScoreCache | None = None,
) -> Curve:
    """Decode every utterance with every model at every number of steps and every temperature.

    Args:
        models: name -> tokenizer, the unrefined one first; all with the same tokens.
        inputs: test utterances at the models' sampling rate.
        steps: numbers of solver steps; a decoder without steps is measured once.
        temperatures: scales of the noise; the others are compared with the first.
        metrics: name -> metric.
        texts: transcripts, for metrics that need them.
        seed: of the noise.
        cache: where measurements are kept and looked for first; decoding is done and timed in any case.

    Raises:
        SiTokError: models with different tokens, a wrong sampling rate, no input, bad steps or temperatures.
    """
    first = _check(models, inputs)
    points = [point for name, tokenizer in models.items() for point in _points(name, tokenizer, steps, temperatures)]
    curve = Curve(points)
    for name, metric in metrics.items():
        curve.ceiling[name] = {}
        if not metric.intrusive:
            curve.original[name] = {}
    for point in points:
        curve.metrics[point] = {metric: {} for metric in metrics}
        curve.seconds[point] = {}
    codes = first.analyze([read_recording(first, inputs[0])], first.sample_rate)
    for point in points:
        _decode(models[point.model], codes, point, seed)  # a first call is slower than the others
    for number, item in enumerate(tqdm(inputs, desc="steps", unit="utt", mininterval=1.0)):
        wav = read_recording(first, item)
        codes = first.analyze([wav], first.sample_rate)
        curve.audio[item.utt] = len(wav) / first.sample_rate
        shift = number % len(points)  # nobody is always the first after the metrics
        mels = {}
        for point in points[shift:] + points[:shift]:
            start = time.perf_counter()
            mels[point] = _decode(models[point.model], codes, point, seed)
            curve.seconds[point][item.utt] = time.perf_counter() - start
        natural = first.vocode([first.log_mel(wav, first.sample_rate)], [len(wav)])[0]
        made = [(curve.original, wav), (curve.ceiling, as_written(natural))]
        for point in points:
            speech = models[point.model].vocode(mels[point], [len(wav)])[0]
            made.append((curve.metrics[point], as_written(speech)))
        text = (texts or {}).get(item.utt)
        samples = [(table, Sample(item.utt, wav, speech, first.sample_rate, text)) for table, speech in made]
        _measure(samples, metrics, cache)
    return curve


def _points(name: str, tokenizer: SiTok, steps: Sequence[int], temperatures: Sequence[float]) -> list[Point]:
    """All of one model; SiTokError for numbers that its decoder cannot take."""
    if not tokenizer.model.decoder.iterative:
        return [Point(name, 0)]
    found = []
    for temperature in dict.fromkeys(temperatures):
        for number in sorted(set(steps)):
            tokenizer.sampling(number, temperature=temperature)
            found.append(Point(name, number, temperature))
    if not found:
        raise SiTokError("no steps or no temperatures: give at least one of each")
    return found


def as_written(wav: np.ndarray) -> np.ndarray:
    """Samples (S,) as a 16-bit file gives them back (libsndfile rounds down): what stage 8 scores."""
    return (np.floor(np.clip(wav, -1.0, 32767 / 32768) * 32768) / 32768).astype(np.float32)


def _check(models: Mapping[str, SiTok], inputs: Sequence[AudioInput]) -> SiTok:
    if not inputs:
        raise SiTokError("no utterances: is wav.scp empty?")
    first, *others = models.values()
    for tokenizer in others:
        if tokenizer.codes_hash != first.codes_hash:
            raise SiTokError(
                f"{tokenizer.directory} has other tokens (codes_hash {tokenizer.codes_hash}) than {first.directory} "
                f"({first.codes_hash}): the curve compares decoders of the same tokens, as stage 6 makes them"
            )
    return first


def _decode(tokenizer: SiTok, codes: list[np.ndarray], point: Point, seed: int) -> list[np.ndarray]:
    options = {"steps": point.steps, "temperature": point.temperature} if point.steps else {}
    return tokenizer.decode_mel(codes, seed=seed, **options)


def _measure(
    samples: Sequence[tuple[dict[str, dict[str, Measurement]], Sample]],
    metrics: Mapping[str, AbsMetric],
    cache: ScoreCache | None,
) -> None:
    """Fill tables (metric -> utterance -> Measurement) with their samples of one utterance; equal audio counts once."""
    places = defaultdict(list)
    for table, sample in samples:
        hashes = [samples_hash(wav, sample.sample_rate) for wav in (sample.hypothesis, sample.reference)]
        for name in table:
            if reason := metrics[name].refusal(sample.text, sample.utterance):
                table[name][sample.utterance] = Measurement(float("nan"), 0.0, notice=reason)
            else:
                key = metrics[name].cache_key(sample.utterance, *hashes)
                places[key].append((table, name, sample))
    known, entries = cache.read(places.keys()) if cache else {}, []
    for key, found in places.items():
        _, name, sample = found[0]
        if key not in known:
            known[key] = _observe(metrics[name], sample)
            entries.append(Entry(key, sample.utterance, name, known[key]))
        for table, own, _ in found:
            concluded = known[key]
            if not concluded.excluded:
                concluded = metrics[own].conclude(concluded, sample.text, sample.utterance)
            table[own][sample.utterance] = concluded
    if cache:
        cache.add(entries)


def _observe(metric: AbsMetric, sample: Sample) -> Measurement:
    try:
        return metric.observe(sample)
    except NotMeasurable as error:
        return Measurement(float("nan"), 0.0, notice=str(error))


def curve_results(curve: Curve, metrics: Mapping[str, AbsMetric], resamples: int, seed: int) -> dict:
    """Corpus values with intervals, and the paired differences of `_differences`, ready for JSON."""
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
            **point.card(),
            "metrics": {name: interval(values) for name, values in curve.metrics[point].items()},
            "time_ratio": ratio(curve.seconds[point], reference),
            "real_time_factor": ratio(curve.seconds[point], curve.audio),
        }
        for point in curve.points
    ]
    return {
        "metrics": {name: metric.card() for name, metric in metrics.items()},
        "ceiling": {name: interval(values) for name, values in curve.ceiling.items()},
        "original": {name: interval(values) for name, values in curve.original.items()},
        "time_reference": curve.reference.card(),
        "rows": rows,
        "differences": _differences(curve, metrics, options),
        "utterances": {
            utt: {
                "seconds": {
                    f"{point.model} {point.steps} {point.temperature:g}": curve.seconds[point][utt]
                    for point in curve.points
                },
                "audio": audio,
            }
            for utt, audio in curve.audio.items()
        },
    }


def _differences(curve: Curve, metrics: Mapping[str, AbsMetric], options: tuple[int, int]) -> list[dict]:
    """Paired differences at equal steps.

    Every later model minus the first at the same temperature, and the first at its other temperatures minus itself at
    its first one. A first model without steps is compared with all.
    """
    first = curve.points[0]
    found = []
    for point in curve.points:
        temperature = first.temperature if point.model == first.model else point.temperature
        other = first if first.steps == 0 else Point(first.model, point.steps, temperature)
        if other == point or other not in curve.metrics:
            continue
        cells = {}
        for name, metric in metrics.items():
            pair = (curve.metrics[point][name], curve.metrics[other][name])
            try:
                cells[name] = statistics.compare(*pair, metric.higher_is_better, *options)
            except SiTokError:  # no utterance could be measured: the row of the model says so
                cells[name] = None
        found.append({"first": point.card(), "second": other.card(), "metrics": cells})
    return found
