#!/usr/bin/env python3
"""Data directories of LibriTTS or LibriTTS-R: train, dev, and one of each test subset.

SUBSET/SPEAKER/CHAPTER/UTTERANCE.wav, beside it its text as it is read out (.normalized.txt) and as it was printed
(.original.txt).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from fetch_corpus import Archive
from local_corpus import Faults, Published, Recording, check_audio, parser_of, prepare_subsets, run, visible, words_of

from sitok_espnet.errors import SiTokError

# Utterances, and SHA-256 of LibriTTS' archive as torchaudio publishes it.
_SUBSETS = {
    "train-clean-100": (33236, "c5608bf1ef74bb621935382b8399c5cdd51cd3ee47cec51f00f885a64c6c7f6b"),
    "train-clean-360": (116500, "ce7cff44dcac46009d18379f37ef36551123a1dc4e5c8e4eb73ae57260de4886"),
    "train-other-500": (205044, "e35f7e34deeb2e2bdfe4403d88c8fdd5fbf64865cae41f027a185a6965f0a5df"),
    "dev-clean": (5736, "da0864e1bd26debed35da8a869dd5c04dfc27682921936de7cff9c8a254dbe1a"),
    "dev-other": (4613, "d413eda26f3a152ac7c9cf3658ef85504dfb1b625296e5fa83727f5186cca79c"),
    "test-clean": (4837, "234ea5b25859102a87024a4b9b86641f5b5aaaf1197335c95090cde04fe9a4f5"),
    "test-other": (5120, "33a5342094f3bba7ccc2e0500b9e72d558f72eb99328ac8debe1d9080402f10d"),
}
# MD5 of LibriTTS-R's archives, as openslr.org lists them; how many utterances they have is not known here for certain.
_RESTORED = {
    "train-clean-100": "6df668d8f5f33e70876bfa33862ad02b",
    "train-clean-360": "382eb3e64394b3da6a559f864339b22c",
    "train-other-500": "a37a8e9f4fe79d20601639bf23d1add8",
    "dev-clean": "2c1f5312914890634cc2d15783032ff3",
    "dev-other": "62d3a80ad8a282b6f31b3904f0507e4f",
    "test-clean": "4d373d453eb96c0691e598061bbafab7",
    "test-other": "dbc0959d8bdb6d52200595cabc9995ae",
}
_CHANGES = "Licence: CC BY 4.0, https://creativecommons.org/licenses/by/4.0/\nChanged here: texts normalised."
RELEASES = {
    "LibriTTS": Published(
        name="LibriTTS",
        variable="LIBRITTS",
        rate=24000,
        counts={name: count for name, (count, _) in _SUBSETS.items()},
        archives={
            name: Archive(
                f"https://www.openslr.org/resources/60/{name}.tar.gz", f"sha256:{sha256}", f"LibriTTS/{name}", name
            )
            for name, (_, sha256) in _SUBSETS.items()
        },
        licence=f"LibriTTS, https://www.openslr.org/60 (Zen and others, 2019)\n{_CHANGES}",
    ),
    "LibriTTS_R": Published(
        name="LibriTTS_R",
        variable="LIBRITTS",
        rate=24000,
        counts=dict.fromkeys(_SUBSETS),
        archives={
            name: Archive(
                f"https://www.openslr.org/resources/141/{name.replace('-', '_')}.tar.gz",
                f"md5:{md5}",
                f"LibriTTS_R/{name}",
                name,
            )
            for name, md5 in _RESTORED.items()
        },
        licence=f"LibriTTS-R, https://www.openslr.org/141 (Koizumi and others, 2023)\n{_CHANGES}",
    ),
}
TEXTS = ("normalized", "original")


def read_subset(root: Path, name: str, kind: str) -> dict[str, Recording]:
    """Utterance -> recording.

    Args:
        kind: "normalized" gives lower-case words of what is read out, "original" the printed text as it is, with its
            capitals, digits and marks.

    Raises:
        SiTokError: audio without its text or the other way round, an empty text, broken audio.
    """
    faults, found = Faults(), {}
    audio = {path.with_suffix(""): path for path in visible((root / name).glob("*/*/*.wav"))}
    ending = f".{kind}.txt"
    texts = {
        path.with_name(path.name.removesuffix(ending)): path for path in visible((root / name).glob(f"*/*/*{ending}"))
    }
    for stem in sorted(audio.keys() - texts.keys()):
        faults.add(f"{stem}{ending} is missing, but {stem.name}.wav is there")
    for stem in sorted(texts.keys() - audio.keys()):
        faults.add(f"{stem}.wav is missing, but {texts[stem].name} is there")
    for stem in sorted(audio.keys() & texts.keys()):
        speaker, chapter = stem.parts[-3:-1]
        if not stem.name.startswith(f"{speaker}_{chapter}_"):
            faults.add(f"{audio[stem]} is in the folder of {speaker}_{chapter}")
        if not (text := " ".join(texts[stem].read_text(encoding="utf-8").split())):
            faults.add(f"{texts[stem]} is empty")
        found[stem.name] = Recording(audio[stem], speaker, words_of(text) if kind == "normalized" else text)
    check_audio(audio.values(), RELEASES["LibriTTS"].rate, faults)
    faults.stop(f"copy {name} again")
    return found


def prepare(args: argparse.Namespace) -> list[str]:
    release = RELEASES[args.release]
    if args.downloads.name in RELEASES and args.downloads.name != args.release:
        raise SiTokError(
            f"{args.downloads} is not --release {args.release}: name the other folder, or the other "
            "release (db.sh has both)"
        )
    return prepare_subsets(args, release, lambda root, name: read_subset(root, name, args.text))


def main(argv: Sequence[str] | None = None) -> None:
    parser = parser_of(__doc__, RELEASES["LibriTTS"])
    parser.add_argument("--release", choices=sorted(RELEASES), default="LibriTTS", help="LibriTTS_R is LibriTTS-R")
    parser.add_argument("--text", choices=TEXTS, default=TEXTS[0], help="words that are read out, or text as printed")
    run(prepare, parser, argv)


if __name__ == "__main__":
    main()
