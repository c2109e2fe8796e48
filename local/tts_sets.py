#!/usr/bin/env python3
"""Transcripts and tokens of a set, as the language model reads them, and prompts of a test set (sitok_tts1, stage 2).

A set has what has both: ``text``, ``codes.scp``, ``wav.scp``, ``utt2spk``, ``spk2utt``, ``utt2num_samples`` and, where
there are several languages, ``utt2lang``; ``left_out`` says of every other utterance why it is not there. A test set
(one with --prompts_from) has ``prompts`` as well: utterance and another utterance of the same speaker in the same
language with other words, whose audio is in ``prompt.scp``, transcript in ``prompt_text``, tokens in
``prompt_codes.scp``.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recipe_files import read_table, write_data_dir, write_table

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.text import normalize_words
from sitok_espnet.tokens import open_tokens

PROMPT_SECONDS = (2.0, 6.0)  # long enough for a voice, short enough to leave the sequence to the target


@dataclass(frozen=True)
class Utterance:
    """Attributes: speaker, language ("" where no utt2lang is), text, audio, codes: place in an archive. seconds."""

    speaker: str
    language: str
    text: str
    audio: str
    codes: str
    samples: int
    seconds: float


def read_set(data_dir: Path, tokens: Path) -> tuple[dict[str, Utterance], list[str]]:
    """Utterances that have a transcript, and those that have none.

    Raises:
        SiTokError: tokens are missing, or are of other audio.
    """
    if not (data_dir / "text").is_file():
        raise SiTokError(f"{data_dir}/text does not exist: a text-to-speech recipe needs transcripts")
    audio, texts = read_table(data_dir / "wav.scp"), read_table(data_dir / "text", allow_empty_value=True)
    speakers, samples = read_table(data_dir / "utt2spk"), read_table(data_dir / "utt2num_samples")
    languages = read_table(data_dir / "utt2lang") if (data_dir / "utt2lang").is_file() else {}
    dump = open_tokens(tokens)
    entries = {entry.utt: entry for entry in dump.entries}
    found = {}
    for utt, text in texts.items():
        if not text:
            continue
        if utt not in entries or entries[utt].num_samples != int(samples[utt]):
            raise SiTokError(f"{tokens} is not of {data_dir}: utterance {utt} is missing there or has another length")
        place = f"{entries[utt].ark}:{entries[utt].offset}"
        seconds = entries[utt].num_samples / dump.manifest["sample_rate"]
        language = languages.get(utt, "")
        found[utt] = Utterance(speakers[utt], language, text, audio[utt], place, entries[utt].num_samples, seconds)
    if not found:
        raise SiTokError(f"{data_dir}/text has no transcript")
    return found, sorted(audio.keys() - found.keys())


def read_sets(data_dirs: Sequence[Path], tokens: Sequence[Path]) -> tuple[dict[str, Utterance], list[str]]:
    """`read_set` of several sets together; SiTokError where two have the same utterance."""
    if len(data_dirs) != len(tokens):
        raise SiTokError(f"{len(data_dirs)} data directories and {len(tokens)} token dumps: every set needs its own")
    found: dict[str, Utterance] = {}
    silent: list[str] = []
    for data_dir, dump in zip(data_dirs, tokens, strict=True):
        items, without = read_set(data_dir, dump)
        if twice := found.keys() & items.keys():
            raise SiTokError(f"{data_dir}: utterance {min(twice)} is in another of the sets, too")
        found |= items
        silent += without
    return found, silent


def choose_prompts(
    wanted: Mapping[str, Utterance],
    pools: Sequence[Mapping[str, Utterance]],
    limits: tuple[float, float] = PROMPT_SECONDS,
) -> dict[str, str]:
    """Utterance -> another utterance of its speaker, in its language, with other words; what has none is left out.

    The same words would be the answer: their tokens could be copied. Of the right length where there is one (else the
    nearest), of the first pool that has such. Among equals a hash of both identifiers decides, so that order and other
    utterances do not matter.
    """
    by_voice: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    everything: dict[str, Utterance] = {}
    for number, pool in enumerate(pools):
        for utt, item in pool.items():
            by_voice[item.speaker, item.language].setdefault(utt, number)
            everything.setdefault(utt, item)
    words = {utt: normalize_words(item.text) for utt, item in everything.items()}
    chosen = {}
    for utt, item in wanted.items():

        def rank(other: str, utt: str = utt, item: Utterance = item) -> tuple:
            seconds = everything[other].seconds
            outside = max(limits[0] - seconds, seconds - limits[1], 0.0)
            number = by_voice[item.speaker, item.language][other]
            tie = hashlib.sha256(f"{utt} {other}".encode()).hexdigest()
            return (outside, number, tie)

        said = normalize_words(item.text)
        others = [other for other in by_voice[item.speaker, item.language] if other != utt and words[other] != said]
        if others:
            chosen[utt] = min(others, key=rank)
    return chosen


def write_set(output: Path, utterances: Mapping[str, Utterance]) -> None:
    """A data directory with ``codes.scp``."""
    write_table(output / "codes.scp", {utt: item.codes for utt, item in utterances.items()})
    write_table(output / "utt2num_samples", {utt: item.samples for utt, item in utterances.items()})
    languages = {utt: item.language for utt, item in utterances.items()}
    write_data_dir(
        output,
        {utt: item.audio for utt, item in utterances.items()},
        {utt: item.speaker for utt, item in utterances.items()},
        text={utt: item.text for utt, item in utterances.items()},
        utt2lang=languages if any(languages.values()) else None,
    )


def write_prompts(output: Path, prompts: Mapping[str, str], everything: Mapping[str, Utterance]) -> None:
    """The four files about prompts; ``prompts`` last."""
    for name, part in (("prompt.scp", "audio"), ("prompt_text", "text"), ("prompt_codes.scp", "codes")):
        write_table(output / name, {utt: getattr(everything[other], part) for utt, other in prompts.items()})
    write_table(output / "prompts", prompts)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data_dir",
        nargs="+",
        type=Path,
        required=True,
        help="audio and transcripts (stage 1); several are put together",
    )
    parser.add_argument(
        "--tokens", nargs="+", type=Path, required=True, help="token dump of the same utterances (stage 1) of each"
    )
    parser.add_argument("--out_dir", type=Path, required=True)
    parser.add_argument(
        "--prompts_from",
        nargs=2,
        type=Path,
        action="append",
        metavar=("DATA_DIR", "TOKENS"),
        help="a test set: prompts come from the set itself or, where it has no good one, from here",
    )
    args = parser.parse_args(argv)
    try:
        found, silent = read_sets(args.data_dir, args.tokens)
        left_out = dict.fromkeys(silent, "no transcript")
        if args.prompts_from:
            pools = [found, *(read_set(*pair)[0] for pair in args.prompts_from)]
            prompts = choose_prompts(found, pools)
            if not prompts:
                raise SiTokError(
                    f"{args.data_dir[0]}: no speaker has two utterances of different words: there are no prompts"
                )
            left_out |= dict.fromkeys(found.keys() - prompts.keys(), "no prompt: nothing else of this speaker")
            found = {utt: found[utt] for utt in prompts}
            write_prompts(args.out_dir, prompts, {utt: item for pool in reversed(pools) for utt, item in pool.items()})
        write_table(args.out_dir / "left_out", left_out)
        write_set(args.out_dir, found)
        remarks = "".join(f", left out: {count} ({why})" for why, count in Counter(left_out.values()).items())
        print(f"{args.out_dir}: {len(found)} utterances with text and tokens{remarks}")
    except SiTokError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
