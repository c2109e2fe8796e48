"""Measure every utterance of every system, with a cache, in a few processes."""

import logging
import multiprocessing
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace

from tqdm import tqdm

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.errors import NotMeasurable
from sitok_espnet.evaluate.metrics import AbsMetric, Measurement, MetricContext, Sample, build_metric
from sitok_espnet.evaluate.score_cache import Entry, ScoreCache
from sitok_espnet.inputs import AudioInput, audio_hash


@dataclass(frozen=True)
class Job:
    """One utterance and what is still to be observed of it.

    Attributes:
        reference: the original recording.
        text: its transcript, or None.
        wanted: (audio, metrics to observe it with, their cache keys).
        strict: whether audio that a metric refuses is an error or an excluded utterance.
    """

    reference: AudioInput
    text: str | None
    wanted: tuple[tuple[AudioInput, tuple[str, ...], tuple[str, ...]], ...]
    strict: bool = True


@dataclass(frozen=True)
class Place:
    """Where an observation belongs: several places may want the same one."""

    system: str
    metric: str
    utterance: str


def measure_all(
    references: Sequence[AudioInput],
    texts: Mapping[str, str],
    systems: Mapping[str, Mapping[str, AudioInput]],
    metrics: Mapping[str, AbsMetric],
    context: MetricContext,
    cache: ScoreCache,
    processes: int = 1,
    strict: bool = True,
    judged: Mapping[str, Collection[str]] | None = None,
) -> dict[str, dict[str, dict[str, Measurement]]]:
    """system -> metric -> utterance -> Measurement.

    Args:
        references: the test utterances.
        texts: their transcripts, where there are any.
        systems: system -> utterance -> audio.
        metrics: name -> metric, those that can run here.
        context: from which worker processes build the same metrics again.
        cache: where observations are kept and looked for first.
        processes: worker processes; 1 measures in this one.
        strict: audio of another length or rate than a metric takes is an error, because our systems make none; False
            (anybody's audio) excludes the utterance from that metric, with the reason.
        judged: metric -> systems that it measures; a metric that is not in it measures all.

    Raises:
        SiTokError: a system lacks an utterance, or audio that cannot be read or compared.
    """
    scores = {system: {metric: {} for metric in metrics} for system in systems}
    places, audio = _places(references, texts, systems, metrics, judged or {}, scores)

    def conclude(key: str, observed: Measurement) -> None:
        for place in places[key]:
            scores[place.system][place.metric][place.utterance] = (
                observed
                if observed.excluded
                else metrics[place.metric].conclude(observed, texts.get(place.utterance), place.utterance)
            )

    known = cache.read(places.keys())
    for key, observed in known.items():
        conclude(key, observed)
    jobs = _jobs(references, texts, {key: there for key, there in places.items() if key not in known}, audio, strict)
    for results in _run(jobs, metrics, context, processes):
        cache.add(results)
        for entry in results:
            conclude(entry.key, entry.measurement)
    return scores


def _places(
    references: Sequence[AudioInput],
    texts: Mapping[str, str],
    systems: Mapping[str, Mapping[str, AudioInput]],
    metrics: Mapping[str, AbsMetric],
    judged: Mapping[str, Collection[str]],
    scores: Mapping[str, Mapping[str, dict[str, Measurement]]],
) -> tuple[dict[str, list[Place]], dict[Place, AudioInput]]:
    """Cache key -> where its observation belongs, and the audio of each place; refused ones go into ``scores``."""
    places, audio = defaultdict(list), {}
    for reference in references:
        utterance, reference_hash = reference.utt, audio_hash(reference)
        for system, items in systems.items():
            if utterance not in items:
                raise SiTokError(f"{system}/wav.scp has no utterance {utterance}: synthesize it again")
            hypothesis_hash = audio_hash(items[utterance])
            for name, metric in metrics.items():
                if metric.intrusive and system == "original":
                    continue  # the reference compared with itself
                if system not in judged.get(name, systems):
                    continue
                if reason := metric.refusal(texts.get(utterance), utterance):
                    scores[system][name][utterance] = Measurement(float("nan"), 0.0, notice=reason)
                    continue
                place = Place(system, name, utterance)
                places[metric.cache_key(utterance, hypothesis_hash, reference_hash)].append(place)
                audio[place] = items[utterance]
    return places, audio


def _jobs(
    references: Sequence[AudioInput],
    texts: Mapping[str, str],
    places: Mapping[str, Sequence[Place]],
    audio: Mapping[Place, AudioInput],
    strict: bool,
) -> list[Job]:
    """A job an utterance, for what is missing: equal audio is observed once."""
    missing = defaultdict(lambda: defaultdict(list))  # utterance -> audio -> (metric, key)
    for key, (first, *_) in places.items():
        missing[first.utterance][audio[first]].append((first.metric, key))
    jobs = []
    for reference in references:
        if wanted := missing.get(reference.utt):
            parts = tuple((item, *map(tuple, zip(*pairs, strict=True))) for item, pairs in wanted.items())
            jobs.append(Job(reference, texts.get(reference.utt), parts, strict))
    return jobs


def _run(
    jobs: Sequence[Job], metrics: Mapping[str, AbsMetric], context: MetricContext, processes: int
) -> Iterator[list[Entry]]:
    progress = tqdm(total=len(jobs), desc="scoring", unit="utt", mininterval=1.0, disable=not jobs)
    with progress:
        for results in _results(jobs, metrics, context, processes):
            yield results
            progress.update()


def _results(
    jobs: Sequence[Job], metrics: Mapping[str, AbsMetric], context: MetricContext, processes: int
) -> Iterable[list[Entry]]:
    if processes <= 1 or len(jobs) < 2:
        yield from (_measure(job, metrics) for job in jobs)
        return
    saved = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # inherited: several threads in each process are many times slower
    try:
        fresh = replace(context)  # without the recogniser, which cannot be sent to another process
        spawn = multiprocessing.get_context("spawn")
        start = {"initializer": _start_worker, "initargs": (tuple(metrics), fresh)}
        with ProcessPoolExecutor(min(processes, len(jobs)), mp_context=spawn, **start) as pool:
            try:
                for done in as_completed([pool.submit(_measure_in_worker, job) for job in jobs]):
                    yield done.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)  # an error is said before the others are measured
                raise
    finally:
        if saved is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = saved


_worker_metrics: dict[str, AbsMetric] = {}


def _start_worker(names: tuple[str, ...], context: MetricContext) -> None:
    import torch

    torch.set_num_threads(1)
    logging.getLogger().setLevel(logging.ERROR)  # the main process has said it
    _worker_metrics.update({name: build_metric(name, context) for name in names})


def _measure_in_worker(job: Job) -> list[Entry]:
    return _measure(job, _worker_metrics)


def _measure(job: Job, metrics: Mapping[str, AbsMetric]) -> list[Entry]:
    reference, rate = job.reference.read()
    results = []
    for audio, names, keys in job.wanted:
        hypothesis, hypothesis_rate = audio.read()
        if hypothesis_rate != rate:
            raise SiTokError(f"{audio.location} has {hypothesis_rate} Hz, its original {rate} Hz: they must be equal")
        sample = Sample(job.reference.utt, reference, hypothesis, rate, job.text)
        for name, key in zip(names, keys, strict=True):
            lasting = True
            try:
                observed = metrics[name].observe(sample)
            except SiTokError as error:
                lasting = isinstance(error, NotMeasurable)
                if job.strict and not lasting:
                    raise
                observed = Measurement(float("nan"), 0.0, notice=str(error))
            results.append(Entry(key, job.reference.utt, name, observed, lasting))
    return results
