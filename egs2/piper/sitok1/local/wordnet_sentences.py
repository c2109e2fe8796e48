"""English sentences of plain words: the examples of use in WordNet's dictionary (Debian package `wordnet-base`).

A line of `data.*` ends in `| definition; "an example of use"; "another one"`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sitok_espnet.errors import SiTokError

FOLDER = "usr/share/wordnet"
PARTS = ("adj", "adv", "noun", "verb")
WORDS = range(6, 25)

LICENSE = """Sentences: examples of use in WordNet 3.0, Debian package wordnet-base, under the WordNet License:
  This software and database is being provided to you, the LICENSEE, by Princeton University under the following
  license. By obtaining, using and/or copying this software and database, you agree that you have read,
  understood, and will comply with these terms and conditions.: Permission to use, copy, modify and distribute
  this software and database and its documentation for any purpose and without fee or royalty is hereby granted,
  provided that you agree to comply with the following copyright notice and statements, including the disclaimer,
  and that the same appear on ALL copies of the software, database and documentation, including modifications that
  you make for internal use or for distribution. WordNet 3.0 Copyright 2006 by Princeton University. All rights
  reserved. THIS SOFTWARE AND DATABASE IS PROVIDED "AS IS" AND PRINCETON UNIVERSITY MAKES NO REPRESENTATIONS OR
  WARRANTIES, EXPRESS OR IMPLIED. BY WAY OF EXAMPLE, BUT NOT LIMITATION, PRINCETON UNIVERSITY MAKES NO
  REPRESENTATIONS OR WARRANTIES OF MERCHANTABILITY OR FITNESS FOR ANY PARTICULAR PURPOSE OR THAT THE USE OF THE
  LICENSED SOFTWARE, DATABASE OR DOCUMENTATION WILL NOT INFRINGE ANY THIRD PARTY PATENTS, COPYRIGHTS, TRADEMARKS
  OR OTHER RIGHTS. The name of Princeton University or Princeton may not be used in advertising or publicity
  pertaining to distribution of the software and/or database. Title to copyright in this software, database and
  any associated documentation shall at all times remain with Princeton University and LICENSEE agrees to preserve
  same."""

_QUOTED = re.compile(r'"([^"]*)"')
_PLAIN = re.compile(r"[A-Za-z ,;:'-]+")
# How two capitals or a single letter are spoken, the text does not say (US is not us).
_ABBREVIATION = re.compile(r"[A-Z]{2}|(?<!['A-Za-z])[B-HJ-NP-Zb-hj-np-z](?![A-Za-z])|\b(?i:etc|dr|mr|mrs|st)\b")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")


@dataclass(frozen=True)
class Sentence:
    """spoken: as it is given to a voice, with punctuation. words: the transcript, lower-case words and apostrophes."""

    spoken: str
    words: str


def plain_sentence(example: str) -> Sentence | None:
    """An example of use as a sentence; None unless it is 6 to 24 words that are spoken as they are written."""
    text = " ".join(example.replace("--", ", ").replace(" ,", ",").split())
    body = text.rstrip(" ,;:.!?-")
    if not _PLAIN.fullmatch(body) or _ABBREVIATION.search(body):
        return None
    words = _WORD.findall(body.lower())
    if len(words) not in WORDS:
        return None
    end = next((mark for mark in text[len(body) :] if mark in ".!?"), ".")
    return Sentence(body + end, " ".join(words))


def distinct(examples: Iterable[str]) -> list[Sentence]:
    """The plain sentences among `examples`, one for each sequence of words, sorted by words."""
    found: dict[str, Sentence] = {}
    for example in sorted(examples):
        sentence = plain_sentence(example)
        if sentence:
            found.setdefault(sentence.words, sentence)
    return [found[words] for words in sorted(found)]


def examples_of(path: Path) -> Iterator[str]:
    """The quoted examples of one dictionary file."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            # The license at the top is indented.
            if not line.startswith("  "):
                yield from _QUOTED.findall(line.partition("|")[2])


def read_sentences(tree: Path) -> list[Sentence]:
    """All sentences in an unpacked `wordnet-base`; SiTokError if a file is missing or none has an example."""
    paths = [tree / FOLDER / f"data.{part}" for part in PARTS]
    for path in paths:
        if not path.is_file():
            raise SiTokError(f"{path} does not exist: the Debian package wordnet-base is needed there, unpacked")
    sentences = distinct(example for path in paths for example in examples_of(path))
    if not sentences:
        raise SiTokError(f"{tree / FOLDER}: no example sentence in data.*: is this the package wordnet-base?")
    return sentences
