#!/usr/bin/env python3
"""Bring the audio of a data directory into the form that every later stage reads.

Any file soundfile opens becomes a mono 16-bit FLAC file at the model's sampling rate; wav.scp and utt2num_samples are
written last, so that an interrupted run leaves nothing that looks finished. With --min_duration and --max_duration
utterances are left out and counted (training and validation sets only).
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from recipe_files import atomic_text, read_table, write_data_dir, write_table

from sitok_espnet.audio import resample, write_audio
from sitok_espnet.errors import SiTokError
from sitok_espnet.inputs import AudioInput, read_scp


@dataclass(frozen=True)
class Limits:
    """What is accepted: durations in seconds, None for no limit."""

    min_duration: float | None = None
    max_duration: float | None = None


@dataclass(frozen=True)
class Formatted:
    """One utterance: its new file and length at the new rate, or why it was left out, or what is wrong with it."""

    utterance: str
    path: str = ""
    num_samples: int = 0
    clipped: int = 0
    left_out: str = ""
    error: str = ""


def format_one(item: AudioInput, audio_dir: Path, fs: int, limits: Limits) -> Formatted:
    """Convert one utterance; never raises for a bad file, so that all bad files can be named at once."""
    try:
        samples, rate = item.read()
        seconds = len(samples) / rate
        if limits.min_duration is not None and seconds < limits.min_duration:
            return Formatted(item.utt, left_out=f"shorter than {limits.min_duration:g} s")
        if limits.max_duration is not None and seconds > limits.max_duration:
            return Formatted(item.utt, left_out=f"longer than {limits.max_duration:g} s")
        samples = resample(samples, rate, fs)
        # The overshoot of a resampler at full scale is ordinary: it is clipped and counted, never scaled, because a
        # scaled file would no longer have the level that its neighbours have.
        target = audio_dir / f"{item.utt}.flac"
        clipped = write_audio(target, samples, fs)
    except SiTokError as error:
        return Formatted(item.utt, error=str(error))
    return Formatted(item.utt, path=str(target), num_samples=len(samples), clipped=clipped)


def prepare_worker() -> None:
    """One thread a process: the processes are the parallelism."""
    import torch

    torch.set_num_threads(1)


def format_data_dir(in_dir: Path, out_dir: Path, fs: int, limits: Limits, nj: int) -> list[str]:
    """Format a whole data directory; returns the report lines. SiTokError names every bad utterance (ten at most)."""
    items = read_scp(in_dir / "wav.scp")
    audio_dir = out_dir / "audio"
    audio_dir.mkdir(parents=True, exist_ok=True)
    for name in ("wav.scp", "utt2num_samples"):
        (out_dir / name).unlink(missing_ok=True)  # present again only when this run has finished
    work = partial(format_one, audio_dir=audio_dir, fs=fs, limits=limits)
    import torchaudio  # noqa: F401  once, here: the forked processes inherit it (it takes seconds to import)

    with multiprocessing.get_context("fork").Pool(min(nj, len(items)), initializer=prepare_worker) as pool:
        results = pool.map(work, items, chunksize=8)
    errors = [f"{in_dir / 'wav.scp'}: {r.error}" for r in results if r.error]
    if errors:
        more = f"\n... and {len(errors) - 10} more" if len(errors) > 10 else ""
        raise SiTokError("\n".join(errors[:10]) + more)
    kept = {r.utterance: r for r in results if not r.left_out}
    if not kept:
        raise SiTokError(f"{in_dir}: no utterance is left; check --min_duration and --max_duration")
    for old in audio_dir.glob("*.flac"):  # of an earlier run with other limits
        if old.stem not in kept:
            old.unlink()
    text = read_table(in_dir / "text", allow_empty_value=True) if (in_dir / "text").is_file() else None
    languages = read_table(in_dir / "utt2lang") if (in_dir / "utt2lang").is_file() else None
    write_table(out_dir / "utt2num_samples", {u: r.num_samples for u, r in kept.items()})
    wavs = {u: r.path for u, r in kept.items()}
    write_data_dir(out_dir, wavs, read_table(in_dir / "utt2spk"), text, keep=kept, utt2lang=languages)
    report = [f"{n} left out: {why}" for why, n in sorted(Counter(r.left_out for r in results if r.left_out).items())]
    if clipped := [r for r in results if r.clipped]:
        report.append(f"{sum(r.clipped for r in clipped)} samples in {len(clipped)} files clipped at full scale")
    minutes = sum(r.num_samples for r in kept.values()) / fs / 60
    return [*report, f"{len(kept)} of {len(items)} utterances, {minutes:.2f} min at {fs} Hz"]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--in_dir", type=Path, required=True, help="with wav.scp, utt2spk and maybe text and utt2lang")
    parser.add_argument("--out_dir", type=Path, required=True)
    parser.add_argument("--fs", type=int, default=24000, help="sampling rate in Hz")
    parser.add_argument("--min_duration", type=float, help="seconds; shorter utterances are left out")
    parser.add_argument("--max_duration", type=float, help="seconds; longer utterances are left out")
    parser.add_argument("--nj", type=int, default=1, help="parallel processes")
    args = parser.parse_args(argv)
    try:
        limits = Limits(args.min_duration, args.max_duration)
        report = format_data_dir(args.in_dir, args.out_dir, args.fs, limits, args.nj)
    except SiTokError as error:
        sys.exit(f"error: {error}")
    with atomic_text(args.out_dir / "FORMAT.txt") as out:
        out.write("\n".join(report) + "\n")
    print("\n".join(f"{args.out_dir.name}: {line}" for line in report))


if __name__ == "__main__":
    main()
