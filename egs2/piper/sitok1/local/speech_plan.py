"""Which sentence belongs to which set, in which order and by which speaker: what is made and what stays the same.

The held-out sentences share no word 4-gram with the training sentences (split_no_overlap.py). The order is that of a
hash of the words: the first N hours are a uniform sample of the sentences, and more hours contain fewer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from recipe_files import atomic_text
from split_no_overlap import split
from wordnet_sentences import Sentence

from sitok_espnet.errors import SiTokError

HELD_OUT = {"test": 100, "dev": 40}  # sentences, in the order in which they are filled
SETS = (*HELD_OUT, "train")
BLOCK = 50  # utterances that one process makes in a row


@dataclass(frozen=True)
class Utterance:
    """One sentence by one speaker. The id begins with the speaker (Kaldi's rule)."""

    id: str
    set: str
    speaker: str
    sentence: Sentence


@dataclass(frozen=True)
class Block:
    """Utterances that are made together: the unit of resuming and of the seed."""

    name: str
    utterances: tuple[Utterance, ...]


def rank(words: str) -> str:
    return hashlib.sha256(words.encode("utf-8")).hexdigest()


def plan(sentences: Sequence[Sentence], speaker_of: Callable[[str, int], str]) -> list[Utterance]:
    """All utterances, set by set, each set in the order of a hash of the words.

    speaker_of(set, number of the sentence in its set) names a speaker.

    Raises:
        SiTokError: too few sentences for the held-out sets.
    """
    by_words = {sentence.words: sentence for sentence in sentences}
    sets = split({words: words for words in by_words}, HELD_OUT, rest="train")
    for name in SETS:
        if len(sets[name]) < HELD_OUT.get(name, 1):
            raise SiTokError(f"{len(by_words)} sentences are too few: the set {name} has only {len(sets[name])}")
    utterances = []
    for name in SETS:
        for number, words in enumerate(sorted(sets[name], key=rank)):
            speaker = speaker_of(name, number)
            utterances.append(Utterance(f"{speaker}-{name}-{number:05d}", name, speaker, by_words[words]))
    return utterances


def blocks(utterances: Sequence[Utterance]) -> list[Block]:
    """The plan in blocks of one set each: those of the held-out sets come first."""
    found = []
    for name in SETS:
        of_set = [utterance for utterance in utterances if utterance.set == name]
        for start in range(0, len(of_set), BLOCK):
            found.append(Block(f"{name}-{start // BLOCK:04d}", tuple(of_set[start : start + BLOCK])))
    return found


def write_plan(path: Path, utterances: Sequence[Utterance]) -> None:
    """Lines of id, set, speaker, what is spoken, transcript, separated by tabs; atomically."""
    with atomic_text(path) as out:
        for u in utterances:
            out.write("\t".join((u.id, u.set, u.speaker, u.sentence.spoken, u.sentence.words)) + "\n")


def read_plan(path: Path) -> list[Utterance]:
    """What :func:`write_plan` wrote; SiTokError names the line that is not of it."""
    utterances = []
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            fields = line.rstrip("\n").split("\t")
            if len(fields) != 5 or fields[1] not in SETS:
                raise SiTokError(f"{path}:{number}: expected id, set, speaker, spoken text and words: is it damaged?")
            utterances.append(Utterance(*fields[:3], Sentence(*fields[3:])))
    return utterances
