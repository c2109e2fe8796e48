"""Speaker verification on a system's audio: does the voice still tell its speaker from the others? (ours)

Enrolment is the original recording of one utterance, the test is the system's audio of another one. A target trial has
the same speaker on both sides, an impostor trial two. The equal error rate is where as many targets are rejected as
impostors are accepted. The row of the originals says what the encoder itself confuses: read every other row against it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.statistics import CONFIDENCE, RESAMPLES

TRIALS = 10  # of each kind for every test utterance, where there are so many
REJECTED = -2.0  # the score of an utterance without an embedding: below every cosine
SPEAKERS_TO_RESAMPLE = 10  # with fewer, intervals are over utterances: a handful of speakers cannot be resampled


@dataclass(frozen=True)
class Trials:
    """Pairs of utterance indices, in the order of the sorted utterances.

    Attributes:
        utterances: ids, sorted.
        speakers: of each.
        enrolment, test: (R,) indices into ``utterances``.
        target: (R,) whether both have the same speaker.
    """

    utterances: tuple[str, ...]
    speakers: tuple[str, ...]
    enrolment: np.ndarray
    test: np.ndarray
    target: np.ndarray


@dataclass(frozen=True)
class EqualErrorRate:
    """An EER with its bootstrap interval and the number of trials behind it.

    Attributes:
        rejected: the system's utterances without an embedding (silence); their trials count as rejections.
        left_out: originals without one, so that nobody is enrolled: their trials are in no system's number.
    """

    value: float
    low: float
    high: float
    targets: int
    impostors: int
    rejected: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def make_trials(utt2spk: Mapping[str, str], seed: int = 0, per_utterance: int = TRIALS) -> Trials:
    """As many target as impostor trials for every test utterance, a function of the ids, speakers and seed alone.

    Every utterance is tested against ``per_utterance`` others of its speaker (all of them, if there are fewer), drawn
    by the seed, and against as many of other speakers, who take turns. The only utterance of a speaker is an impostor
    of others, never a test.

    Raises:
        SiTokError: one speaker, or none with two utterances.
    """
    ids = sorted(utt2spk)
    by_speaker: dict[str, list[int]] = {}
    for index, utterance in enumerate(ids):
        by_speaker.setdefault(utt2spk[utterance], []).append(index)
    if len(by_speaker) < 2:
        raise SiTokError(f"one speaker ({next(iter(by_speaker), 'none')}): verification needs at least two")
    generator = np.random.Generator(np.random.PCG64(seed))
    rows: list[tuple[int, int, bool]] = []
    for test, utterance in enumerate(ids):
        same = [index for index in by_speaker[utt2spk[utterance]] if index != test]
        targets = generator.permutation(same)[:per_utterance].tolist() if same else []
        others = [speaker for speaker in sorted(by_speaker) if speaker != utt2spk[utterance]]
        turns = generator.permutation(len(others)).tolist()
        shuffled = [generator.permutation(by_speaker[others[turn]]).tolist() for turn in turns]
        # First one of every other speaker, then a second one of each, ...
        longest = max(map(len, shuffled))
        impostors = [pool[depth] for depth in range(longest) for pool in shuffled if depth < len(pool)]
        count = min(len(targets), len(impostors))
        rows += [(index, test, True) for index in targets[:count]]
        rows += [(index, test, False) for index in impostors[:count]]
    if not rows:
        raise SiTokError("no speaker has two utterances: there is no target trial")
    enrolment, tests, target = zip(*rows, strict=True)
    return Trials(
        tuple(ids), tuple(utt2spk[u] for u in ids), np.array(enrolment), np.array(tests), np.array(target, dtype=bool)
    )


def equal_error_rate(scores: np.ndarray, target: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Where the rates of false acceptance and false rejection are equal, on the line between neighbouring thresholds.

    Args:
        scores: (R,), higher is more alike; equal scores are accepted or rejected together.
        target: (R,) bool.
        weights: (R,) how often each trial counts; once by default.

    Raises:
        SiTokError: no target or no impostor counts.
    """
    weights = np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=float)
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.where(target[order], weights[order], 0.0)
    alarms = weights[order] - hits
    if not (hits.sum() > 0 and alarms.sum() > 0):
        raise SiTokError("an equal error rate needs target and impostor trials")
    ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    accepted = np.concatenate(([0.0], np.cumsum(alarms)[ends])) / alarms.sum()
    rejected = 1.0 - np.concatenate(([0.0], np.cumsum(hits)[ends])) / hits.sum()
    gap = accepted - rejected  # from -1 to 1, never falling
    after = int(np.argmax(gap >= 0))
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(accepted[after - 1] + share * (accepted[after] - accepted[after - 1]))


def verify(
    trials: Trials,
    enrolments: Mapping[str, np.ndarray],
    tests: Mapping[str, np.ndarray],
    resamples: int = RESAMPLES,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> EqualErrorRate:
    """EER of one system.

    A system's utterance without an embedding (silence) is nobody's voice: its trials are rejected, which for targets
    is a miss. Leaving them out would flatter the system that falls silent. A silent original enrols nobody; its trials
    are left out for every system alike.

    The interval resamples test speakers where there are at least SPEAKERS_TO_RESAMPLE, else test utterances, each with
    all its trials, on the same draws for every system. Enrolments are shared and not resampled.

    Args:
        enrolments, tests: utterance -> embedding (D,), of the originals and of the system; of any length.

    Raises:
        SiTokError: no trial of one kind is left, or no utterance of the system has an embedding.
    """
    ids = trials.utterances
    if not any(utterance in tests for utterance in ids):
        raise SiTokError("none of the utterances has a voice in it")
    there = np.array([ids[index] in enrolments for index in trials.enrolment])
    enrolment, test, target = trials.enrolment[there], trials.test[there], trials.target[there]
    if not (target.any() and not target.all()):
        raise SiTokError("an equal error rate needs target and impostor trials")
    pairs = [(ids[e], ids[t]) for e, t in zip(enrolment, test, strict=True)]
    scores = np.array([_cosine(enrolments[e], tests[t]) if t in tests else REJECTED for e, t in pairs])
    units = np.array(resampled_units(trials))
    # Of the units that are tested at all: the only utterance of a speaker is not.
    _, unit = np.unique(units[test], return_inverse=True)
    generator = np.random.Generator(np.random.PCG64(seed))
    rates, count = [], int(unit.max()) + 1
    for _ in range(resamples):
        drawn = np.bincount(generator.integers(0, count, count), minlength=count)
        rates.append(equal_error_rate(scores, target, drawn[unit]))
    low, high = np.quantile(rates, [(1 - confidence) / 2, (1 + confidence) / 2])
    value = equal_error_rate(scores, target)
    return EqualErrorRate(
        value,
        float(low),
        float(high),
        int(target.sum()),
        int((~target).sum()),
        tuple(sorted({t for _, t in pairs} - tests.keys())),
        tuple(sorted({ids[e] for e in trials.enrolment} - enrolments.keys())),
    )


def resampled_units(trials: Trials) -> Sequence[str]:
    """What the bootstrap draws for each utterance: its speaker, or itself where speakers are few."""
    return trials.speakers if len(set(trials.speakers)) >= SPEAKERS_TO_RESAMPLE else trials.utterances


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.dot(one, other) / (np.linalg.norm(one) * np.linalg.norm(other)))
