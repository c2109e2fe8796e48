#!/usr/bin/env python3
"""Check that a data directory is sorted and consistent, and say in one line what is wrong."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from recipe_files import read_table, speaker_to_utterances

from sitok_espnet.errors import SiTokError


def check(directory: Path) -> int:
    """Return the number of utterances; SiTokError for the first problem found.

    wav.scp, utt2spk and spk2utt are needed, text (which may have ids without a transcript) and utt2lang are optional;
    all have the same ids in code-point order (LC_ALL=C sort), and spk2utt is the inverse of utt2spk.
    """
    wav_scp = read_table(directory / "wav.scp")
    tables = {"wav.scp": wav_scp, "utt2spk": read_table(directory / "utt2spk")}
    if (directory / "text").is_file():
        tables["text"] = read_table(directory / "text", allow_empty_value=True)
    if (directory / "utt2lang").is_file():
        tables["utt2lang"] = read_table(directory / "utt2lang")
    if not wav_scp:
        raise SiTokError(f"{directory / 'wav.scp'} has no utterance")
    for name, table in tables.items():
        keys = list(table)
        if missing := sorted(set(wav_scp) - set(keys)):
            raise SiTokError(f"{directory / name}: {len(missing)} ids of wav.scp are missing: {missing[0]} ...")
        if extra := sorted(set(keys) - set(wav_scp)):
            raise SiTokError(f"{directory / name}: {len(extra)} ids are not in wav.scp: {extra[0]} ...")
        for earlier, later in zip(keys, keys[1:], strict=False):
            if earlier > later:
                raise SiTokError(f"{directory / name}: {later} comes after {earlier}: sort with LC_ALL=C")
    if read_table(directory / "spk2utt") != speaker_to_utterances(tables["utt2spk"]):
        raise SiTokError(f"{directory / 'spk2utt'} is not the inverse of utt2spk")
    return len(wav_scp)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data_dir", type=Path, nargs="+")
    args = parser.parse_args(argv)
    for directory in args.data_dir:
        try:
            print(f"{directory}: {check(directory)} utterances")
        except SiTokError as error:
            sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
