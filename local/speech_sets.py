"""Prepared speech of one corpus in one language or several, and its data directories train, dev and test.

Each language is split by itself (split_no_overlap.py), so that its sets do not depend on which others are asked for.
train and dev are common to all languages; each has a test set of its own: `test` of the corpus' main language,
`test_<lang>` of another.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import soundfile
from recipe_files import atomic_text, write_data_dir
from split_no_overlap import split

from sitok_espnet.errors import SiTokError

# Single letters, digits and names stay in the training set: a recogniser cannot tell "p" from "t" without a sentence,
# so they would only add noise to the word error rate. One 73-second prompt would outweigh the rest of a held-out set.
HELD_OUT_WORDS = range(3, 60)


@dataclass(frozen=True)
class Sizes:
    """Held-out utterances of a language, at most."""

    test: int
    dev: int


@dataclass
class Corpus:
    """Utterances by id: file, words, speaker and seconds; and how often others were left out for which reason."""

    wavs: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    speakers: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    def add(self, utterance: str, speaker: str, words: str, samples: np.ndarray, rate: int, audio_dir: Path) -> None:
        """Take in an utterance: int16 samples (S,) at `rate` become a FLAC file in `audio_dir`.

        The id begins with the speaker, so that sorting by utterance also sorts by speaker (Kaldi's rule).
        """
        if utterance in self.wavs:
            raise SiTokError(f"two utterances would get the id {utterance}")
        audio_dir.mkdir(parents=True, exist_ok=True)
        target = audio_dir / f"{utterance}.flac"
        temporary = target.with_suffix(".tmp")
        soundfile.write(temporary, samples, rate, format="FLAC", subtype="PCM_16")
        temporary.replace(target)
        self.wavs[utterance], self.texts[utterance] = str(target), words
        self.speakers[utterance], self.seconds[utterance] = speaker, len(samples) / rate

    def update(self, other: Corpus) -> None:
        """Take in another language; SiTokError if it has an id that is here already."""
        if taken := sorted(set(self.wavs) & set(other.wavs)):
            raise SiTokError(f"two languages have an utterance {taken[0]}")
        for name in ("wavs", "texts", "speakers", "seconds"):
            getattr(self, name).update(getattr(other, name))

    def report(self, name: str, keys: Sequence[str]) -> str:
        """The line of a set: utterances, words, minutes."""
        words = sum(len(self.texts[key].split()) for key in keys)
        minutes = sum(self.seconds[key] for key in keys) / 60
        return f"{name}: {len(keys)} utterances, {words} words, {minutes:.2f} min"


def write_sets(corpora: Mapping[str, Corpus], sizes: Mapping[str, Sizes], main_lang: str, data_dir: Path) -> list[str]:
    """Split every language (`corpora`, `sizes` by language), write the data directories, return the report's lines."""
    whole = Corpus()
    sets: defaultdict[str, list[str]] = defaultdict(list)
    report = []
    # English is what every tool takes for granted: only where there is something else the language is written down.
    languages = {utterance: lang for lang, corpus in corpora.items() for utterance in corpus.wavs}
    utt2lang = None if set(corpora) == {"en"} else languages
    for lang, corpus in corpora.items():
        whole.update(corpus)
        # In the order in which they are filled.
        held_out = {"test" if lang == main_lang else f"test_{lang}": sizes[lang].test, "dev": sizes[lang].dev}
        lines = [f"{count} left out: {reason}" for reason, count in sorted(corpus.left_out.items()) if count]
        lines += corpus.notes
        for name, keys in split(corpus.texts, held_out, rest="train", held_out_words=HELD_OUT_WORDS).items():
            sets[name] += keys
            lines.append(corpus.report(name, keys))
        report += lines if len(corpora) == 1 else [f"{lang}: {line}" for line in lines]
    for name, keys in sets.items():
        write_data_dir(data_dir / name, whole.wavs, whole.speakers, whole.texts, keep=keys, utt2lang=utt2lang)
        if len(corpora) > 1:
            report.append(whole.report(name, keys))
    return report


def run(
    description: str,
    known_langs: Collection[str],
    main_lang: str,
    prepare_language: Callable[[Path, Path, str], Corpus],
    sizes_of: Callable[[str], Sizes],
    licence_text: Callable[[Sequence[str]], str],
    argv: Sequence[str] | None,
) -> None:
    """The command line of a preparation script: data directories, PREPARATION.txt (the report) and LICENSE.txt.

    prepare_language(tree, audio_dir, lang) decodes one language; `sizes_of` gives its default sizes.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path, required=True, help="where the packages of all languages were unpacked")
    parser.add_argument("--audio_dir", type=Path, required=True, help="decoded FLAC files go here")
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument("--langs", nargs="+", default=[main_lang], help=f"of {' '.join(known_langs)}")
    for name in ("test", "dev"):
        usual = ", ".join(f"{lang} {getattr(sizes_of(lang), name)}" for lang in known_langs)
        parser.add_argument(f"--{name}_size", type=int, help=f"utterances of a language, at most (default: {usual})")
    args = parser.parse_args(argv)
    langs = args.langs
    try:
        if unknown := [lang for lang in langs if lang not in known_langs]:
            raise SiTokError(f"--langs {unknown[0]}: the languages of this corpus are {', '.join(known_langs)}")
        if len(set(langs)) < len(langs):
            raise SiTokError(f"--langs {' '.join(langs)}: a language is named twice")
        corpora = {lang: prepare_language(args.tree, args.audio_dir, lang) for lang in langs}
        sizes = {}
        for lang in langs:
            usual = sizes_of(lang)
            test = usual.test if args.test_size is None else args.test_size
            sizes[lang] = Sizes(test, usual.dev if args.dev_size is None else args.dev_size)
        report = write_sets(corpora, sizes, main_lang, args.data_dir)
    except SiTokError as error:
        sys.exit(f"error: {error}")
    for name, content in (("PREPARATION.txt", "\n".join(report) + "\n"), ("LICENSE.txt", licence_text(langs))):
        with atomic_text(args.data_dir / name) as out:
            out.write(content)
    print("\n".join(report))
