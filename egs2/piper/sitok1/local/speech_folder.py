"""A folder of made speech: `plan.tsv`, `voice.json`, `audio/<block>/<utterance>.flac` and `blocks/<block>.tsv`.

The list of a block is written after its audio: a block without a list is made again, one with a list never.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recipe_files import atomic_text
from speech_plan import SETS, Block, Utterance, blocks, read_plan, write_plan

from sitok_espnet.errors import SiTokError


@dataclass(frozen=True)
class Made:
    """One utterance that is there: its file and its length in seconds."""

    utterance: Utterance
    path: Path
    seconds: float


@dataclass(frozen=True)
class SpeechFolder:
    """Speech of one voice in one plan, below `root`."""

    root: Path
    blocks: tuple[Block, ...]
    rate: int

    def audio(self, block: Block, utterance: Utterance) -> Path:
        return self.root / "audio" / block.name / f"{utterance.id}.flac"

    def read_block(self, block: Block) -> list[Made] | None:
        """The utterances of a block in the order of the plan, None if it has not been made whole."""
        path = self.root / "blocks" / f"{block.name}.tsv"
        if not path.is_file():
            return None
        rows = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
        if [row[0] for row in rows] != [u.id for u in block.utterances]:
            raise SiTokError(f"{path} lists other utterances than plan.tsv: delete it, and it is made again")
        return [
            Made(u, self.audio(block, u), int(row[1]) / self.rate)
            for u, row in zip(block.utterances, rows, strict=True)
        ]

    def write_block(self, block: Block, num_samples: Sequence[int]) -> None:
        with atomic_text(self.root / "blocks" / f"{block.name}.tsv") as out:
            for utterance, samples in zip(block.utterances, num_samples, strict=True):
                out.write(f"{utterance.id}\t{samples}\n")

    def first_hours(self, hours: float) -> tuple[dict[str, list[Made]], bool]:
        """By set what is there of the held-out sets and of the first `hours` of the training set; whether it is all.

        The training set ends with the utterance that completes the hours, or before the first block that is missing.
        """
        sets: dict[str, list[Made]] = {name: [] for name in SETS}
        left = hours * 3600
        whole = True
        for block in self.blocks:
            name = block.utterances[0].set
            if name == "train" and left <= 0:
                break
            made = self.read_block(block)
            if made is None:
                whole = False
                if name == "train":
                    break
                continue
            for one in made:
                if name == "train":
                    if left <= 0:
                        break
                    left -= one.seconds
                sets[name].append(one)
        return sets, whole and left <= 0


def open_folder(root: Path, voice: Mapping[str, object], utterances: Sequence[Utterance]) -> SpeechFolder:
    """The folder `root`, new or as an earlier run left it.

    voice: what decides how it sounds, with the sampling rate as "rate"; utterances: the plan.

    Raises:
        SiTokError: the folder is that of another voice or plan.
    """
    for name, same, write in (
        ("plan.tsv", lambda path: read_plan(path) == list(utterances), lambda path: write_plan(path, utterances)),
        ("voice.json", lambda path: read_voice(path) == dict(voice), lambda path: _write_voice(path, voice)),
    ):
        path = root / name
        if not path.is_file():
            write(path)
        elif not same(path):
            what = "other sentences" if name == "plan.tsv" else "another voice"
            raise SiTokError(f"{path}: the speech there was made with {what}: choose another folder")
    return SpeechFolder(root, tuple(blocks(utterances)), int(voice["rate"]))


def read_folder(root: Path) -> SpeechFolder:
    """A folder as an earlier run left it; SiTokError if it has no plan or voice."""
    for name in ("plan.tsv", "voice.json"):
        if not (root / name).is_file():
            raise SiTokError(f"{root / name} does not exist: no speech has been made there")
    return SpeechFolder(root, tuple(blocks(read_plan(root / "plan.tsv"))), int(read_voice(root / "voice.json")["rate"]))


def read_voice(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SiTokError(f"{path}: not JSON ({error})") from error


def _write_voice(path: Path, voice: Mapping[str, object]) -> None:
    with atomic_text(path) as out:
        out.write(json.dumps(dict(voice), indent=2) + "\n")


def hours_of_training(text: str) -> float:
    """For argparse: a positive number of hours."""
    try:
        hours = float(text)
    except ValueError:
        hours = math.nan
    if not 0 < hours < math.inf:
        raise argparse.ArgumentTypeError(f"a positive number of hours is needed, not {text!r}")
    return hours


def main(argv: list[str] | None = None) -> None:
    """Say whether a folder has some hours already: a line that begins with `whole:` or `missing:`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--speech", type=Path, required=True)
    parser.add_argument("--hours", type=hours_of_training, required=True)
    args = parser.parse_args(argv)
    try:
        new = not all((args.speech / name).is_file() for name in ("plan.tsv", "voice.json"))
        sets, whole = ({"train": []}, False) if new else read_folder(args.speech).first_hours(args.hours)
    except SiTokError as error:
        sys.exit(f"error: {error}")
    there = sum(one.seconds for one in sets["train"]) / 3600
    print(f"{'whole' if whole else 'missing'}: {args.speech} has {there:.2f} of {args.hours:g} h of training speech")


if __name__ == "__main__":
    main()
