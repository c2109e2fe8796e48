#!/usr/bin/env python3
"""A formatted data directory spoken faster or slower (sitok_tts1, stage 1): more training speech of the same texts.

Speed and pitch change together (resampling), so that a changed voice is another speaker, as in Kaldi: utterance `a` of
speaker `s` becomes `sp0.9-a` of `sp0.9-s`. Transcripts and languages stay.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from fractions import Fraction
from functools import partial
from pathlib import Path

from recipe_files import read_table, write_data_dir, write_table
from tqdm import tqdm

from sitok_espnet.audio import write_audio
from sitok_espnet.augment import change_speed
from sitok_espnet.errors import SiTokError
from sitok_espnet.inputs import AudioInput, read_scp

SLOWEST, FASTEST = 50, 200  # hundredths


def hundredths_of(factor: str) -> int:
    """Of a speed factor; SiTokError unless it is a whole number of them, half to double speed, and changes anything."""
    try:
        value = Fraction(factor) * 100
    except (ValueError, ZeroDivisionError):
        raise SiTokError(f"a speed factor is a number such as 0.9, not {factor!r}") from None
    if value.denominator != 1 or not SLOWEST <= value <= FASTEST:
        raise SiTokError(f"a speed factor is a whole number of hundredths from 0.5 to 2, not {factor}")
    if value == 100:
        raise SiTokError("the speed factor 1 changes nothing: the original is there in any case, leave it out")
    return int(value)


def perturb_one(item: AudioInput, audio_dir: Path, prefix: str, hundredths: int) -> tuple[str, str, int]:
    """(new utterance, its file, its number of samples)."""
    samples, rate = item.read()
    changed = change_speed(samples, hundredths)
    target = audio_dir / f"{prefix}{item.utt}.flac"
    write_audio(target, changed, rate)
    return prefix + item.utt, str(target), len(changed)


def perturb(data_dir: Path, factor: str, output: Path, nj: int) -> int:
    """Write ``output``; wav.scp last. The number of utterances."""
    hundredths, prefix = hundredths_of(factor), f"sp{factor}-"
    items = read_scp(data_dir / "wav.scp")
    audio_dir = output / "audio"
    audio_dir.mkdir(parents=True, exist_ok=True)
    (output / "wav.scp").unlink(missing_ok=True)
    work = partial(perturb_one, audio_dir=audio_dir, prefix=prefix, hundredths=hundredths)
    with multiprocessing.get_context("fork").Pool(min(nj, len(items))) as pool:
        done = pool.imap(work, items, chunksize=8)
        results = list(tqdm(done, total=len(items), desc=output.name, unit="utt", disable=None))

    def renamed(name: str) -> dict[str, str] | None:
        if not (data_dir / name).is_file():
            return None
        return {prefix + utt: value for utt, value in read_table(data_dir / name, allow_empty_value=True).items()}

    speakers = {prefix + utt: prefix + speaker for utt, speaker in read_table(data_dir / "utt2spk").items()}
    write_table(output / "utt2num_samples", {utt: count for utt, _, count in results})
    wavs = {utt: path for utt, path, _ in results}
    return write_data_dir(output, wavs, speakers, renamed("text"), utt2lang=renamed("utt2lang"))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", type=Path, required=True, help="with formatted audio")
    parser.add_argument("--factor", required=True, help="of speed: 0.9 is slower and lower")
    parser.add_argument("--out_dir", type=Path, required=True)
    parser.add_argument("--nj", type=int, default=1, help="parallel processes")
    args = parser.parse_args(argv)
    try:
        count = perturb(args.data_dir, args.factor, args.out_dir, args.nj)
    except SiTokError as error:
        sys.exit(f"error: {error}")
    print(f"{args.out_dir}: {count} utterances of {args.data_dir} at {args.factor} times the speed")


if __name__ == "__main__":
    main()
