#!/usr/bin/env python3
"""Keyword spotting on Speech Commands v0.02: ten commands, "unknown" and "silence" (12 classes), or all 35 words.

WORD/SPEAKER_nohash_N.wav; validation_list.txt and testing_list.txt name their files as WORD/FILE, the rest trains.
With 12 classes a tenth as many other words as commands are kept (by the hash of their names) and as many seconds of
_background_noise_ cut, in each set, as DASB does. Each noise recording is divided in time, 80 % for training and 10 %
each for the other sets, so that no noise is in two (ours).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from probe_sets import ProbeCorpus, TaskSets, check_count, hash_share, require, run_preparation

from sitok_espnet.audio import read_audio, write_audio
from sitok_espnet.errors import SiTokError

COMMANDS = frozenset("yes no up down left right on off stop go".split())
OTHERS = frozenset(
    "zero one two three four five six seven eight nine bed bird cat dog happy house marvin sheila tree wow "
    "backward forward follow learn visual".split()
)
UTTERANCES = 105829
LISTS = {"valid": "validation_list.txt", "test": "testing_list.txt"}
NOISE = "_background_noise_"
EXTRA = 0.1  # unknown words and seconds of silence for each command, as DASB
PARTS = {"train": (0.0, 0.8), "valid": (0.8, 0.9), "test": (0.9, 1.0)}  # of every noise recording


def read_list(path: Path, there: dict[str, Path]) -> set[str]:
    """The names of an official list; SiTokError if it names files that are not there."""
    names = set(path.read_text(encoding="utf-8").split())
    if missing := sorted(names - set(there)):
        raise SiTokError(f"{path.name} names {len(missing)} files that are not there, such as {missing[0]}")
    return names


def prepare(root: Path, partial: bool, args: argparse.Namespace) -> tuple[ProbeCorpus, list[str | None]]:
    require(root, [*sorted(COMMANDS | OTHERS), NOISE, *LISTS.values()], "SPEECHCOMMANDS")
    files = {f"{w}/{path.name}": path for w in COMMANDS | OTHERS for path in (root / w).glob("*_nohash_*.wav")}
    lists = {phase: read_list(root / name, files) for phase, name in LISTS.items()}
    if both := sorted(lists["valid"] & lists["test"]):
        raise SiTokError(f"{both[0]} is in both lists of {root}")
    corpus, task = ProbeCorpus(), TaskSets("keyword", f"{args.classes} classes, official lists.")
    chosen: dict[str, dict[str, str]] = {phase: {} for phase in PARTS}
    unknown: dict[str, list[str]] = {phase: [] for phase in PARTS}
    for name in sorted(files):
        phase = next((phase for phase, names in lists.items() if name in names), "train")
        word = name.split("/")[0]
        if args.classes == 35 or word in COMMANDS:
            chosen[phase][name] = word
        else:
            unknown[phase].append(name)
    for phase, members in chosen.items():
        extra = round(EXTRA * len(members)) if args.classes == 12 else 0
        members.update(dict.fromkeys(sorted(unknown[phase], key=hash_share)[:extra], "unknown"))
        for name, label in members.items():
            word, file = name.split("/")
            speaker, _, take = Path(file).stem.partition("_nohash_")
            task.sets[phase][corpus.add(f"{speaker}-{word}-{take}", files[name], speaker)] = label
        for path, number in cut_silence(root / NOISE, args.data_dir / "audio/silence", phase, extra):
            task.sets[phase][corpus.add(f"noise-{phase}-{number:05d}", path, "noise")] = "silence"
    corpus.tasks["keyword"] = task
    return corpus, [check_count(len(files), UTTERANCES, "recordings of words", partial)]


def cut_silence(folder: Path, out: Path, phase: str, count: int):
    """`count` pieces of one second from the part of the noise recordings that belongs to a set: (file, number)."""
    if not count:
        return
    noises = [read_audio(path) for path in sorted(folder.glob("*.wav"))]
    if not noises:
        raise SiTokError(f"{folder} has no .wav file: copy the corpus again")
    for number in range(count):
        samples, rate = noises[number % len(noises)]
        first, last = (int(share * len(samples)) for share in PARTS[phase])
        if last - first < rate:
            raise SiTokError(
                f"a recording in {folder} is too short ({len(samples) / rate:.1f} s): copy the corpus again"
            )
        start = first + int(hash_share(f"{phase}{number}") * (last - first - rate + 1))
        path = out / f"{phase}-{number:05d}.wav"
        write_audio(path, samples[start : start + rate], rate)
        yield path, number


def more_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--classes", type=int, choices=(12, 35), default=12)


if __name__ == "__main__":
    run_preparation(__doc__, prepare, more_options)
