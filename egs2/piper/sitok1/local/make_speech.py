#!/usr/bin/env python3
"""Make hours of speech from sentences with a voice, resumably; dev and test first.

What is there is never made again: with more hours the same folder grows. The samples do not depend on the number of
processes or on interruptions (each block of 50 sentences has a seed of its own).
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from speech_folder import Block, Made, SpeechFolder, hours_of_training, open_folder
from speech_plan import plan
from voices import MODULES, open_voice, voice_module
from wordnet_sentences import read_sentences

from sitok_espnet.audio import check_waveform, write_audio
from sitok_espnet.errors import SiTokError

SECONDS_PER_WORD = (0.1, 2.0)  # beyond them a voice has failed
_voice = None  # of a worker process


def seed_of(block: Block) -> int:
    """31 bits of the block's name."""
    return int.from_bytes(hashlib.sha256(block.name.encode("utf-8")).digest()[:4], "big") >> 1


def start_worker(voice: str, voice_dir: Path) -> None:
    """Open the voice of this process; it ends when the main process has ended, however that ended."""
    global _voice
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process tells
    _voice = open_voice(voice, voice_dir)


def make_block(folder: SpeechFolder, block: Block) -> list[Made]:
    """Speak a block, write its files, then its list."""
    _voice.begin(seed_of(block))
    lengths = []
    for utterance in block.utterances:
        text = utterance.sentence.spoken
        samples = check_waveform(_voice.say(text, utterance.speaker), f"{utterance.id} ({text!r})")
        per_word = len(samples) / _voice.rate / len(utterance.sentence.words.split())
        peak = float(np.abs(samples).max())
        if not SECONDS_PER_WORD[0] <= per_word <= SECONDS_PER_WORD[1] or peak < 0.01:
            raise SiTokError(f"{utterance.id}: {text!r} became {per_word:.2f} s a word with a peak of {peak:.3f}")
        path = folder.audio(block, utterance)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(path, samples / max(1.0, peak), _voice.rate)
        lengths.append(len(samples))
    folder.write_block(block, lengths)
    return folder.read_block(block)


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """One run at a time in a folder; SiTokError if there is another."""
    with (root / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SiTokError(
                f"{root}: another run is making speech there: wait for it, or ask for fewer hours"
            ) from error
        yield


class Progress:
    """Seconds of training speech that are there, in any block; prints hours, speed and time left after each block."""

    def __init__(self, name: str, seconds: float, wanted: float):
        self.name, self.seconds, self.wanted = name, seconds, wanted
        self.before, self.start = seconds, time.monotonic()

    def add(self, made: Sequence[Made]) -> None:
        set_name = made[0].utterance.set
        if set_name != "train":
            print(f"{self.name}: {len(made)} utterances of {set_name}", flush=True)
            return
        self.seconds += sum(one.seconds for one in made)
        speed = (self.seconds - self.before) / (time.monotonic() - self.start)
        left = max(0.0, self.wanted - self.seconds) / speed / 60
        print(
            f"{time.strftime('%H:%M:%S')} {self.name}: {self.seconds / 3600:.2f} of {self.wanted / 3600:g} h, "
            f"{speed:.1f} times real time, {left:.0f} min left",
            flush=True,
        )


def run_blocks(
    pool: Executor,
    nj: int,
    folder: SpeechFolder,
    waiting: Sequence[Block],
    progress: Progress,
    until: Callable[[], bool],
) -> None:
    """Make blocks in their order, `nj` at a time, up to the last or as soon as `until` says so."""
    rest = iter(waiting)
    running: set[Future] = set()
    while True:
        while len(running) < nj and not until() and (block := next(rest, None)):
            running.add(pool.submit(make_block, folder, block))
        if not running:
            return
        done, running = wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            progress.add(future.result())


def possible_seconds(folder: SpeechFolder) -> float:
    """Seconds of training speech that all sentences give, about: words times the pace of the held-out sets."""
    sets, _ = folder.first_hours(0.0)
    made = [one for name, of_set in sets.items() if name != "train" for one in of_set]
    words = sum(len(one.utterance.sentence.words.split()) for one in made)
    of_training = (u for block in folder.blocks for u in block.utterances if u.set == "train")
    return sum(one.seconds for one in made) / words * sum(len(u.sentence.words.split()) for u in of_training)


def make(folder: SpeechFolder, hours: float, nj: int, voice: str, voice_dir: Path) -> None:
    """Make what is missing of the held-out sets and of the first `hours` of the training set.

    Raises:
        SiTokError: the sentences give fewer hours; a voice that fails.
    """
    missing: dict[bool, list[Block]] = {True: [], False: []}  # by whether they are of the training set
    there = 0.0
    for block in folder.blocks:
        training = block.utterances[0].set == "train"
        made = folder.read_block(block)
        if made is None:
            missing[training].append(block)
        elif training:
            there += sum(one.seconds for one in made)
    progress = Progress(folder.root.name, there, hours * 3600)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(nj, context, start_worker, (voice, voice_dir)) as pool:
        try:
            run_blocks(pool, nj, folder, missing[False], progress, until=lambda: False)
            if (possible := possible_seconds(folder)) < 0.95 * progress.wanted:
                raise SiTokError(
                    f"--hours {hours:g}: the sentences give only about {possible / 3600:.1f} h with this voice"
                )
            run_blocks(pool, nj, folder, missing[True], progress, until=lambda: folder.first_hours(hours)[1])
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():  # a block that is not finished is made again
                process.terminate()
            if isinstance(error, BrokenProcessPool):
                raise SiTokError(
                    "a process was killed (is there memory for --nj?): run it again, it goes on"
                ) from error
            raise
    if not folder.first_hours(hours)[1]:
        raise SiTokError(f"--hours {hours:g}: the sentences give only {progress.seconds / 3600:.3f} h with this voice")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--speech", type=Path, required=True, help="folder of the speech; may be an earlier run's")
    parser.add_argument("--tree", type=Path, required=True, help="unpacked wordnet-base and voice packages")
    parser.add_argument("--voice", default="joe", help=f"of {', '.join(MODULES)}")
    parser.add_argument("--hours", type=hours_of_training, default=1.0, help="of training speech")
    parser.add_argument("--nj", type=int, default=1, help="processes, of one thread each")
    args = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("make_speech.py: ended by a signal: run it again, it goes on"))
    try:
        voice = open_voice(args.voice, args.tree)
        utterances = plan(read_sentences(args.tree), voice_module(args.voice).speaker_of)
        args.speech.mkdir(parents=True, exist_ok=True)
        with locked(args.speech):
            make(open_folder(args.speech, voice.identity(), utterances), args.hours, args.nj, args.voice, args.tree)
    except (SiTokError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("make_speech.py: interrupted: run it again, it goes on")


if __name__ == "__main__":
    main()
