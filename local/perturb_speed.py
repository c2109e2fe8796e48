#!/usr/bin/env python3
"""A formatted data directory spoken faster or slower (sitok_tts1, stage 1): more training speech of the same texts.

Speed and pitch change together (resampling), so that a changed voice is another speaker, as in Kaldi: utterance `a` of
speaker `s` becomes `sp0.9-a` of `sp0.9-s`. Transcripts and languages stay.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import re
import sys
from functools import partial
from pathlib import Path

from recipe_files import atomic_text, read_table, write_data_dir, write_table
from tqdm import tqdm

from sitok_espnet.audio import write_audio
from sitok_espnet.augment import change_speed
from sitok_espnet.errors import SiTokError
from sitok_espnet.inputs import AudioInput, read_scp

SLOWEST, FASTEST = 50, 200  # hundredths
TABLES = ("wav.scp", "utt2num_samples", "utt2spk", "text", "utt2lang")


def hundredths_of(factor: str) -> int:
    """Of a speed factor; SiTokError unless it is a plain decimal, half to double speed, and changes anything.

    One spelling only (0.9, not .9 or 0.90): names carry it.
    """
    if not re.fullmatch(r"[01]\.[0-9]?[1-9]|2", factor):
        raise SiTokError(
            f"a speed factor is a number of at most two decimals without zeros at the end, as 0.9, not {factor!r}"
        )
    hundredths = round(100 * float(factor))
    if not SLOWEST <= hundredths <= FASTEST:
        raise SiTokError(f"a speed factor is from 0.5 to 2, not {factor}")
    return hundredths


def perturb_one(item: AudioInput, audio_dir: Path, prefix: str, hundredths: int) -> tuple[str, str, int]:
    """(new utterance, its file, its number of samples)."""
    samples, rate = item.read()
    changed = change_speed(samples, hundredths)
    target = audio_dir / f"{prefix}{item.utt}.flac"
    write_audio(target, changed, rate)
    return prefix + item.utt, str(target), len(changed)


def source_hash(data_dir: Path, factor: str) -> str:
    """Of everything that decides the result, except for audio that was made again in the same length."""
    digest = hashlib.sha256(f"{factor} {data_dir}".encode())
    for name in TABLES:
        digest.update(f"\0{name}\0".encode() + (data_dir / name).read_bytes() if (data_dir / name).is_file() else b"")
    return digest.hexdigest()


def perturb(data_dir: Path, factor: str, output: Path, nj: int) -> str:
    """Write ``output``, wav.scp last, unless it is there; what was done."""
    hundredths, prefix = hundredths_of(factor), f"sp{factor}-"
    items = read_scp(data_dir / "wav.scp")
    made_from, stamp = output / "made_from", source_hash(data_dir, factor) + "\n"
    if (output / "wav.scp").is_file() and made_from.is_file() and made_from.read_text() == stamp:
        return f"{len(items)} utterances, kept"
    audio_dir = output / "audio"
    audio_dir.mkdir(parents=True, exist_ok=True)
    for name in ("wav.scp", "made_from"):
        (output / name).unlink(missing_ok=True)
    work = partial(perturb_one, audio_dir=audio_dir, prefix=prefix, hundredths=hundredths)
    with multiprocessing.get_context("fork").Pool(min(nj, len(items))) as pool:
        done = pool.imap(work, items, chunksize=8)
        results = list(tqdm(done, total=len(items), desc=output.name, unit="utt", disable=None))
    wavs = {utt: path for utt, path, _ in results}
    for old in audio_dir.glob("*.flac"):  # of utterances that are no longer there
        if old.stem not in wavs:
            old.unlink()

    def renamed(name: str) -> dict[str, str] | None:
        if not (data_dir / name).is_file():
            return None
        return {prefix + utt: value for utt, value in read_table(data_dir / name, allow_empty_value=True).items()}

    speakers = {prefix + utt: prefix + speaker for utt, speaker in read_table(data_dir / "utt2spk").items()}
    write_table(output / "utt2num_samples", {utt: count for utt, _, count in results})
    with atomic_text(made_from) as out:
        out.write(stamp)
    count = write_data_dir(output, wavs, speakers, renamed("text"), utt2lang=renamed("utt2lang"))
    return f"{count} utterances of {data_dir} at {factor} times the speed"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data_dir", type=Path, required=True, help="with formatted audio")
    parser.add_argument("--factor", required=True, help="of speed: 0.9 is slower and lower")
    parser.add_argument("--out_dir", type=Path, required=True)
    parser.add_argument("--nj", type=int, default=1, help="parallel processes")
    args = parser.parse_args(argv)
    try:
        done = perturb(args.data_dir, args.factor, args.out_dir, args.nj)
    except SiTokError as error:
        sys.exit(f"error: {error}")
    print(f"{args.out_dir}: {done}")


if __name__ == "__main__":
    main()
