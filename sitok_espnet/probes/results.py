"""results.json of the probes: every task and input with its better architecture, intervals, comparisons (stage 7)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.metrics.abs_metric import Measurement
from sitok_espnet.evaluate.significance import holm
from sitok_espnet.evaluate.statistics import RESAMPLES, bootstrap, bootstrap_of_sums, compare
from sitok_espnet.evaluate.table import SIGNIFICANT, verdict
from sitok_espnet.evaluate.verification import Trials, resampled_units, verify
from sitok_espnet.probes.card import CONTINUOUS, MEL, QUANTIZED, TOKENS, InputCard
from sitok_espnet.probes.plan import SETS, TEST, TRAIN, TRIALS, ProbeJob, TaskFolder
from sitok_espnet.probes.scoring import Answer, error_counts, read_answers, read_embeddings, read_summary, read_trials
from sitok_espnet.probes.tasks import ACCURACY, EER, HIGHER_IS_BETTER, WER, ProbeTask

PAIRS = ((TOKENS, MEL), (CONTINUOUS, TOKENS))  # what the verdict is made of
COMPARED = (*PAIRS, (QUANTIZED, TOKENS))
NO_DIFFERENCE = "an EER is of trials, which share utterances: no paired difference of it is computed"


def build_results(jobs: Sequence[ProbeJob], resamples: int = RESAMPLES, seed: int = 0) -> dict:
    """The table as a dictionary; all jobs must be scored. Tasks of one group are pooled."""
    groups: dict[str, list[ProbeJob]] = {}
    for job in jobs:
        groups.setdefault(job.task.group, []).append(job)
    cards = {job.input: InputCard.read(job.features) for job in jobs}
    return {
        "tasks": {name: _task(members, resamples, seed) for name, members in groups.items()},
        "inputs": {name: _about(card) for name, card in cards.items()},
        "bootstrap": {"resamples": resamples, "seed": seed, "confidence": 0.95},
    }


def _about(card: InputCard) -> dict:
    content = asdict(card)
    return {key: content[key] for key in ("width", "frame_rate", "codebook_sizes", "model_hash", "codes_hash")}


def _task(jobs: Sequence[ProbeJob], resamples: int, seed: int) -> dict:
    """One row: pooled over the folds of a cross-validation, where there are several.

    Every fold chooses its architecture by its own validation set and the answers of the chosen ones are pooled: a
    choice for all folds together would be made with labels of sessions that other folds test.

    Raises:
        SiTokError: an utterance is tested by two folds; folds of verification.
    """
    task = jobs[0].task.task
    folders = {job.task.name: job.task for job in jobs}
    _check_folds(folders)
    by_input: dict[str, dict[str, list[ProbeJob]]] = {}
    for job in jobs:
        by_input.setdefault(job.input, {}).setdefault(job.probe, []).append(job)
    inputs, chosen = {}, {}
    for source, probes in by_input.items():
        cells = {probe: _cell(members, resamples, seed) for probe, members in probes.items()}
        best = {fold: _best([job for job in jobs if (job.task.name, job.input) == (fold, source)]) for fold in folders}
        chosen[source] = list(best.values())
        names = Counter(job.probe for job in chosen[source])
        cell = cells[next(iter(names))] if len(names) == 1 else _cell(chosen[source], resamples, seed)
        inputs[source] = {"probe": _choice(names), **cell, "probes": cells}
        inputs[source]["chosen"] = {fold: job.probe for fold, job in best.items()}
    content = {
        "title": task.title,
        "metric": task.metric,
        "higher_is_better": HIGHER_IS_BETTER[task.metric],
        "chance": _chance(jobs),
        "architectures": task.source,
        "note": " ".join(dict.fromkeys(folder.note for folder in folders.values() if folder.note)),
        "folds": len(folders),
        "utterances": {phase: sum(len(folder.targets(phase)) for folder in folders.values()) for phase in SETS},
        "inputs": inputs,
        "differences": _differences(chosen, task, resamples, seed),
    }
    content["order"] = order_of(content["differences"])
    return content


def _check_folds(folders: Mapping[str, TaskFolder]) -> None:
    tested = Counter(utterance for folder in folders.values() for utterance in folder.targets(TEST))
    if twice := sorted(utterance for utterance, count in tested.items() if count > 1):
        raise SiTokError(f"{twice[0]} is tested by two tasks of one group: {', '.join(folders)}")
    if len(folders) > 1 and any(folder.task.metric == EER for folder in folders.values()):
        raise SiTokError(
            f"{', '.join(folders)} have one group: scores of different verification probes cannot be pooled"
        )


def _best(jobs: Sequence[ProbeJob]) -> ProbeJob:
    """Of one fold and input: with the smallest validation error, the first of equals."""
    return min(jobs, key=lambda job: read_summary(job)["valid_error"])


def _choice(names: Counter) -> str:
    """ "one", or "one (3 of 5 folds), two (2 of 5 folds)"."""
    if len(names) == 1:
        return next(iter(names))
    return ", ".join(f"{name} ({count} of {names.total()} folds)" for name, count in sorted(names.items()))


def _differences(chosen: Mapping[str, Sequence[ProbeJob]], task: ProbeTask, resamples: int, seed: int) -> dict:
    """Paired comparisons of COMPARED, where both inputs are there; p values are adjusted for their number (Holm)."""
    pairs = {f"{a} - {b}": (a, b) for a, b in COMPARED if a in chosen and b in chosen}
    if task.metric == EER:
        return {pair: {"status": "not computed", "reason": NO_DIFFERENCE} for pair in pairs}
    measured = {source: _measurements(_answers(members), task.metric) for source, members in chosen.items()}
    better = HIGHER_IS_BETTER[task.metric]
    cells = {
        pair: {"status": "measured", **compare(measured[a], measured[b], better, resamples, seed)}
        for pair, (a, b) in pairs.items()
    }
    for cell, adjusted in zip(cells.values(), holm([c["p_randomisation"] for c in cells.values()]), strict=True):
        cell["p_holm"] = adjusted
    return cells


def order_of(differences: Mapping[str, Mapping]) -> str:
    """Where the tokens are, in words that the paired differences bear; empty where one of them is missing."""
    if any(differences.get(f"{a} - {b}", {}).get("status") != "measured" for a, b in PAIRS):
        return ""
    to_mel, of_bound = (verdict(differences[f"{a} - {b}"]) for a, b in PAIRS)
    to_bound = {"better": "worse", "worse": "better"}.get(of_bound, of_bound)
    words = {"better": "better than", "worse": "worse than"}
    same = "not distinguishable from"
    text = (
        f"tokens are {words.get(to_mel, same)} mel and {words.get(to_bound, same)} the continuous bound "
        f"(paired differences, p < {SIGNIFICANT})"
    )
    if (to_mel, to_bound) == ("better", "worse"):
        return f"{text}: they lie between the two"
    if (to_mel, to_bound) == ("worse", "better"):
        return f"{text}: the encoder's output is worse than mel here"
    return text


def _answers(jobs: Sequence[ProbeJob]) -> list[Answer]:
    return [answer for job in jobs for answer in read_answers(job.folder)]


def _measurements(found: Sequence[Answer], metric: str, characters: bool = False) -> dict[str, Measurement]:
    """Utterance -> errors over units, or 1 of 1 for a right label."""
    if metric == ACCURACY:
        return {a.utterance: Measurement(float(a.answered == a.expected), 1.0) for a in found}
    return {a.utterance: Measurement(*map(float, error_counts(a, "text", characters))) for a in found}


def _cell(jobs: Sequence[ProbeJob], resamples: int, seed: int) -> dict:
    """Value and interval of the pooled answers, with the mean of the validation errors and the largest size."""
    metric = jobs[0].task.task.metric
    summaries = [read_summary(job) for job in jobs]
    about = {
        "valid_error": sum(item["valid_error"] for item in summaries) / len(summaries),
        "parameters": max(item["parameters"] for item in summaries),
        "adapter_parameters": max(item["adapter_parameters"] for item in summaries),
    }
    if metric == EER:
        trials, *vectors = _trials(jobs[0])
        rate = verify(trials, *vectors, resamples, seed)
        value = {"value": rate.value, "low": rate.low, "high": rate.high, "count": rate.targets + rate.impostors}
        value["resampled"] = "speakers" if resampled_units(trials) == trials.speakers else "utterances"
        return value | about
    found = _answers(jobs)
    cell = asdict(bootstrap(list(_measurements(found, metric).values()), resamples, seed)) | about
    if metric == WER:
        letters = _measurements(found, metric, characters=True)
        return cell | {"extra": {"cer": asdict(bootstrap(list(letters.values()), resamples, seed))}}
    classes = sorted({answer.expected for answer in found})
    f1 = bootstrap_of_sums(_confusion(found, classes), macro_f1, resamples, seed)
    return cell | {"extra": {"macro_f1": asdict(f1)}}


def _trials(job: ProbeJob) -> tuple[Trials, dict, dict]:
    """The trials in the form of evaluate/verification.py, and the embeddings for both sides.

    Raises:
        SiTokError: an utterance of a trial has no embedding (`verify` would leave the trial out) or no speaker.
    """
    rows = read_trials(job.task.folder / TRIALS)
    vectors = dict(read_embeddings(job.folder))
    speakers = job.task.targets(TEST)
    names = sorted({utterance for *pair, _ in rows for utterance in pair})
    for what, table in (("embedding", vectors), ("speaker", speakers)):
        if missing := [name for name in names if name not in table]:
            raise SiTokError(
                f"{job.task.folder / TRIALS}: {len(missing)} utterances have no {what}, such as {missing[0]}: run "
                "stages 3 and 6 again"
            )
    place = {name: number for number, name in enumerate(names)}
    enrolment, test = (np.array([place[row[side]] for row in rows]) for side in (0, 1))
    target = np.array([row[2] for row in rows])
    return Trials(tuple(names), tuple(speakers[n] for n in names), enrolment, test, target), vectors, vectors


def _confusion(found: Sequence[Answer], classes: Sequence[str]) -> np.ndarray:
    """(n, 3 C): whether an utterance is a hit of each class, was answered with it, has it."""
    rows = [
        [float(a.expected == a.answered == c) for c in classes]
        + [float(a.answered == c) for c in classes]
        + [float(a.expected == c) for c in classes]
        for a in found
    ]
    return np.array(rows)


def macro_f1(sums: np.ndarray) -> np.ndarray:
    """Mean of F1 = 2 hits / (answered + there) over the classes that occur in either. (..., 3 C) -> (...).

    A resample may lack a rare class altogether: it is left out there, not counted as a failure.
    """
    hits, answered, there = np.split(sums, 3, axis=-1)
    occurs = answered + there > 0
    return (2 * hits / np.maximum(answered + there, 1)).sum(axis=-1) / occurs.sum(axis=-1)


def _chance(jobs: Sequence[ProbeJob]) -> float:
    """What needs no input: silence (WER 1), a coin (EER 0.5), always the most frequent class of the training set."""
    task = jobs[0].task.task
    if task.metric == WER:
        return 1.0
    if task.metric == EER:
        return 0.5
    hits, total = 0, 0
    for folder in {job.task.name: job.task for job in jobs}.values():
        counts = Counter(folder.targets(TRAIN).values())
        most = min(counts, key=lambda label: (-counts[label], label))
        expected = list(folder.targets(TEST).values())
        hits, total = hits + expected.count(most), total + len(expected)
    return hits / total
