#!/usr/bin/env python3
"""Data directories of LibriSpeech: train, dev, and one of each test subset."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from librispeech import LIBRISPEECH, read_subset
from local_corpus import Recording, parser_of, prepare_subsets, run, words_of


def read_words(root: Path, name: str) -> dict[str, Recording]:
    return {utt: replace(item, text=words_of(item.text)) for utt, item in read_subset(root, name).items()}


def prepare(args: argparse.Namespace) -> list[str]:
    return prepare_subsets(args, LIBRISPEECH, read_words)


def main(argv: Sequence[str] | None = None) -> None:
    run(prepare, parser_of(__doc__, LIBRISPEECH), argv)


if __name__ == "__main__":
    main()
