#!/usr/bin/env python3
"""Data directories of made speech: the first hours of its training set, and its held-out sets."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from recipe_files import atomic_text, write_data_dir
from speech_folder import Made, hours_of_training, read_folder
from voices import MODULES, voice_module
from wordnet_sentences import LICENSE

from sitok_espnet.errors import SiTokError


def set_names(voice: str, hours: float) -> dict[str, str]:
    """Set of the plan -> name of its data directory. Those of `joe` have no voice in their names."""
    suffix = "" if voice == "joe" else f"_{voice}"
    return {"test": f"test{suffix}", "dev": f"dev{suffix}", "train": f"train{suffix}_{hours:g}h"}


def report_line(name: str, made: Sequence[Made]) -> str:
    words = sum(len(one.utterance.sentence.words.split()) for one in made)
    speakers = len({one.utterance.speaker for one in made})
    minutes = sum(one.seconds for one in made) / 60
    return f"{name}: {len(made)} utterances, {words} words, {minutes:.2f} min, {speakers} speakers"


def write_sets(sets: Mapping[str, Sequence[Made]], names: Mapping[str, str], data_dir: Path) -> list[str]:
    """Write a data directory for each set; returns the lines of the report."""
    report = []
    for name, made in sets.items():
        for one in made:
            if not one.path.is_file():
                raise SiTokError(f"{one.path} is gone: delete the list of its block in blocks/, and it is made again")
        write_data_dir(
            data_dir / names[name],
            wav_scp={one.utterance.id: str(one.path) for one in made},
            utt2spk={one.utterance.id: one.utterance.speaker for one in made},
            text={one.utterance.id: one.utterance.sentence.words for one in made},
        )
        report.append(report_line(names[name], made))
    return report


def license_text() -> str:
    """Of all voices, because data directories of several may lie side by side."""
    lines = ["Synthetic speech: no person has said these sentences.", "", *LICENSE.splitlines()]
    for name in MODULES:
        lines += ["", *voice_module(name).LICENSE.splitlines()]
    lines += ["", "Changed here: sentences chosen and normalised, spoken by the voices, split into sets.", ""]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True, help="folder that make_speech.py wrote")
    parser.add_argument("--voice", default="joe", help="that speaks there")
    parser.add_argument("--hours", type=hours_of_training, default=1.0)
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    args = parser.parse_args(argv)
    try:
        sets, whole = read_folder(args.speech.absolute()).first_hours(args.hours)
        if not whole:
            raise SiTokError(f"{args.speech} has less than --hours {args.hours:g}: run make_speech.py first")
        names = set_names(args.voice, args.hours)
        for name in names.values():  # nothing looks finished until the end
            (args.data_dir / name / "wav.scp").unlink(missing_ok=True)
        report = write_sets(sets, names, args.data_dir)
    except (SiTokError, OSError) as error:
        sys.exit(f"error: {error}")
    for name, content in (
        (f"PREPARATION_{names['train']}.txt", "\n".join(report) + "\n"),
        ("LICENSE.txt", license_text()),
    ):
        with atomic_text(args.data_dir / name) as out:
            out.write(content)
    print("\n".join(report))


if __name__ == "__main__":
    main()
