"""Measure every utterance of every system, with a cache, in a few processes."""

import hashlib
import json
import logging
import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

from tqdm import tqdm

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.errors import NotMeasurable
from sitok_espnet.evaluate.metrics import AbsMetric, Measurement, MetricContext, Sample, build_metric
from sitok_espnet.inputs import AudioInput, audio_hash

CACHE = "scores.jsonl"
MEASURED = tuple(field.name for field in fields(Measurement))


@dataclass(frozen=True)
class Job:
    """One utterance and what is still to be measured of it.

    Attributes:
        reference: the original recording.
        text: its transcript, or None.
        wanted: (system, its audio, metrics to measure, their cache keys).
        strict: whether audio that a metric refuses is an error or an excluded utterance.
    """

    reference: AudioInput
    text: str | None
    wanted: tuple[tuple[str, AudioInput, tuple[str, ...], tuple[str, ...]], ...]
    strict: bool = True


@dataclass(frozen=True)
class Result:
    """A measurement and where it belongs."""

    system: str
    utterance: str
    metric: str
    key: str
    measurement: Measurement


def measure_all(
    references: Sequence[AudioInput],
    texts: Mapping[str, str],
    systems: Mapping[str, Mapping[str, AudioInput]],
    metrics: Mapping[str, AbsMetric],
    context: MetricContext,
    cache_dir: Path,
    processes: int = 1,
    strict: bool = True,
) -> dict[str, dict[str, dict[str, Measurement]]]:
    """system -> metric -> utterance -> Measurement.

    Args:
        references: the test utterances.
        texts: their transcripts, where there are any.
        systems: system -> utterance -> audio.
        metrics: name -> metric, those that can run here.
        context: from which worker processes build the same metrics again.
        cache_dir: measurements are kept in ``<cache_dir>/<system>/scores.jsonl``, keyed by a hash of both audios,
            the text and the metric's fingerprint.
        processes: worker processes; 1 measures in this one.
        strict: audio of another length or rate than a metric takes is an error, because our systems make none; False
            (anybody's audio) excludes the utterance from that metric, with the reason.

    Raises:
        SiTokError: a system lacks an utterance, or audio that cannot be read or compared.
    """
    known = {system: _read_cache(cache_dir / system / CACHE) for system in systems}
    scores = {system: {metric: {} for metric in metrics} for system in systems}
    jobs = []
    for reference in references:
        text = texts.get(reference.utt)
        reference_hash, wanted = audio_hash(reference), []
        for system, audio in systems.items():
            if reference.utt not in audio:
                raise SiTokError(
                    f"{cache_dir / system / 'wav.scp'} has no utterance {reference.utt}: synthesize it again"
                )
            hypothesis = audio[reference.utt]
            inputs = f"{reference_hash} {audio_hash(hypothesis)} {text}"
            missing = []
            for name, metric in metrics.items():
                if metric.intrusive and system == "original":
                    continue  # the reference compared with itself
                key = hashlib.sha256(f"{inputs} {metric.fingerprint()}".encode()).hexdigest()[:24]
                if key in known[system]:
                    scores[system][name][reference.utt] = known[system][key]
                else:
                    missing.append((name, key))
            if missing:
                names, keys = zip(*missing, strict=True)
                wanted.append((system, hypothesis, names, keys))
        if wanted:
            jobs.append(Job(reference, text, tuple(wanted), strict))
    for result in _run(jobs, metrics, context, processes):
        scores[result.system][result.metric][result.utterance] = result.measurement
        _append(cache_dir / result.system / CACHE, result)
    return scores


def _read_cache(path: Path) -> dict[str, Measurement]:
    cache: dict[str, Measurement] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
                cache[entry["key"]] = Measurement(*(entry[part] for part in MEASURED))
            except (ValueError, KeyError, TypeError):
                logging.warning("%s: a damaged line is ignored and measured again", path)
    return cache


def _append(path: Path, result: Result) -> None:
    """One line a measurement, at once: an interrupted run loses nothing. NaN stays NaN (Python's JSON dialect)."""
    entry = {
        "key": result.key,
        "utterance": result.utterance,
        "metric": result.metric,
    } | asdict(result.measurement)
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def _run(
    jobs: Sequence[Job], metrics: Mapping[str, AbsMetric], context: MetricContext, processes: int
) -> Iterator[Result]:
    progress = tqdm(total=len(jobs), desc="scoring", unit="utt", mininterval=1.0, disable=not jobs)
    with progress:
        for results in _results(jobs, metrics, context, processes):
            yield from results
            progress.update()


def _results(
    jobs: Sequence[Job], metrics: Mapping[str, AbsMetric], context: MetricContext, processes: int
) -> Iterable[list[Result]]:
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
            for done in as_completed([pool.submit(_measure_in_worker, job) for job in jobs]):
                yield done.result()
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


def _measure_in_worker(job: Job) -> list[Result]:
    return _measure(job, _worker_metrics)


def _measure(job: Job, metrics: Mapping[str, AbsMetric]) -> list[Result]:
    reference, rate = job.reference.read()
    results = []
    for system, audio, names, keys in job.wanted:
        hypothesis, hypothesis_rate = audio.read()
        if hypothesis_rate != rate:
            raise SiTokError(f"{audio.location} has {hypothesis_rate} Hz, its original {rate} Hz: they must be equal")
        sample = Sample(job.reference.utt, reference, hypothesis, rate, job.text)
        for name, key in zip(names, keys, strict=True):
            try:
                measurement = metrics[name].measure(sample)
            except SiTokError as error:
                if job.strict and not isinstance(error, NotMeasurable):
                    raise
                measurement = Measurement(float("nan"), 0.0, notice=str(error))
            results.append(Result(system, job.reference.utt, name, key, measurement))
    return results
