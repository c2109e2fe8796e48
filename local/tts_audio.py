#!/usr/bin/env python3
"""The audio of a sitok1 recipe's set as a data directory of a recipe beside it (sitok_tts1, stage 1).

Only lists are written: wav.scp names the files where that recipe has them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from recipe_files import read_table, write_data_dir, write_table

from sitok_espnet.errors import SiTokError
from sitok_espnet.inputs import read_scp


def borrow(recipe: Path, data_dir: str, output: Path) -> int:
    """Write ``output`` from ``recipe/data_dir``; the number of utterances.

    Raises:
        SiTokError: that recipe has not formatted the set (its stage 2).
    """
    source = recipe / data_dir
    if not (source / "wav.scp").is_file():
        raise SiTokError(f"{source}/wav.scp does not exist: run stages 1 and 2 of {recipe} first")
    # Paths there are relative to that recipe; an absolute one stays as it is.
    audio = {item.utt: str(recipe / item.location) for item in read_scp(source / "wav.scp")}
    tables = {
        name: read_table(source / name, allow_empty_value=True) if (source / name).is_file() else None
        for name in ("text", "utt2lang")
    }
    write_table(output / "utt2num_samples", read_table(source / "utt2num_samples"))
    return write_data_dir(
        output, audio, read_table(source / "utt2spk"), text=tables["text"], utt2lang=tables["utt2lang"]
    )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", type=Path, required=True, help="folder of the sitok1 recipe")
    parser.add_argument("--data_dir", required=True, help="in it, as dump/raw/train")
    parser.add_argument("--out_dir", type=Path, required=True)
    args = parser.parse_args(argv)
    try:
        print(f"{args.out_dir}: {borrow(args.recipe, args.data_dir, args.out_dir)} utterances of {args.recipe}")
    except SiTokError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
