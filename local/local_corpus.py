"""A published corpus on this machine, checked file by file, as data directories train, dev and test.

What LibriSpeech, LibriTTS and LJSpeech have in common. A copy with something missing is refused, and the error names
it: nothing is skipped.
"""

from __future__ import annotations

import argparse
import struct
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import soundfile
from fetch_corpus import Archive, fetch
from probe_sets import check_count
from prompt_languages import Language
from prompt_text import spoken_words
from recipe_files import atomic_text, write_data_dir

from sitok_espnet.errors import SiTokError

EXAMPLES = 5  # of what is wrong, in one error
READERS = 8  # threads that look into audio files: the time goes into waiting for the disk
BOOKS = Language(credit="", licence="", symbols={"&": " and "})


@dataclass(frozen=True)
class Recording:
    """One utterance. text: as the corpus has it, or made of it."""

    path: Path
    speaker: str
    text: str


@dataclass(frozen=True)
class Published:
    """What is known of a corpus before it is read.

    name: the folder that it is published in. variable: of db.sh. rate: of its audio, in Hz.
    counts: subset -> number of its utterances, None where that is not known. archives: where they come from.
    """

    name: str
    variable: str
    rate: int
    counts: Mapping[str, int | None]
    archives: Mapping[str, Archive]
    licence: str


@dataclass
class Faults:
    """What is wrong with a copy: all of it goes into one error."""

    lines: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        self.lines.append(line)

    def stop(self, advice: str) -> None:
        """SiTokError if there is anything, with ``advice``: what to do."""
        if self.lines:
            more = f"; and {len(self.lines) - EXAMPLES} more" if len(self.lines) > EXAMPLES else ""
            raise SiTokError(f"{'; '.join(self.lines[:EXAMPLES])}{more}: {advice}")


def words_of(text: str) -> str:
    """A transcript as the text pieces read it: lower-case words of letters and apostrophes; "" where there are none."""
    return spoken_words(text, "en", BOOKS)


def visible(paths: Iterable[Path]) -> list[Path]:
    """Sorted, without the files that file managers hide between others."""
    return sorted(path for path in paths if not path.name.startswith("."))


def audio_fault(path: Path, rate: int) -> str | None:
    """What is wrong with an audio file, None if it is whole: from its header, its size and its last sample."""
    try:
        if not (size := path.stat().st_size):
            return f"{path} is empty"
        with path.open("rb") as file:
            head = file.read(8)
        # libsndfile takes what there is of a WAV file for all of it.
        if head.startswith(b"RIFF") and (len(head) < 8 or struct.unpack("<I", head[4:])[0] + 8 > size):
            return f"{path} is cut off"
        with soundfile.SoundFile(path) as audio:
            if (audio.samplerate, audio.channels) != (rate, 1):
                return f"{path} has {audio.samplerate} Hz and {audio.channels} channels instead of {rate} Hz and one"
            if not audio.frames:
                return f"{path} has no samples"
            audio.seek(audio.frames - 1)
            return None if len(audio.read(1)) else f"{path} is cut off"
    except (soundfile.SoundFileError, OSError) as error:
        return f"{path} is not readable or cut off ({error})"


def check_audio(paths: Iterable[Path], rate: int, faults: Faults) -> None:
    """Add every bad file to ``faults``."""
    with ThreadPoolExecutor(READERS) as pool:
        for fault in pool.map(lambda path: audio_fault(path, rate), paths):
            if fault:
                faults.add(fault)


def corpus_folder(downloads: Path, published: Published) -> Path:
    """The corpus below or at ``downloads``: the folder itself, or the one of the published name in it."""
    if downloads.name == published.name or any((downloads / name).is_dir() for name in published.counts):
        return downloads
    return downloads / published.name


def require_subsets(root: Path, subsets: Sequence[str], published: Published) -> None:
    """SiTokError for a corpus that is not there, or lacks a subset."""
    fetching = '--local_data_opts "--download true" fetches it'
    if not root.is_dir():
        raise SiTokError(
            f"{root} does not exist: say where {published.name} is with {published.variable} in db.sh, or --downloads "
            f"DIR ({fetching})"
        )
    if missing := [name for name in subsets if not (root / name).is_dir()]:
        raise SiTokError(
            f"{root} has no {', '.join(missing)}: copy it ({fetching}), or leave it out: --train_subsets, "
            "--dev_subsets and --test_subsets of --local_data_opts, and --test_sets"
        )


def set_name(subset: str) -> str:
    """test-clean -> test_clean: the data directory of a test subset."""
    return subset.replace("-", "_")


def parser_of(description: str, published: Published) -> argparse.ArgumentParser:
    """The options that every corpus has; those about subsets where there are several."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--downloads", type=Path, required=True, help=f"{published.name}, or the folder it is in")
    parser.add_argument("--data_dir", type=Path, default=Path("data"))
    parser.add_argument(
        "--download", choices=("true", "false"), default="false", help="fetch what is missing (needs a network)"
    )
    parser.add_argument("--mirror", help="address of a folder that has the same archives")
    parser.add_argument(
        "--partial",
        choices=("true", "false"),
        default="false",
        help="accept subsets with fewer utterances than published; every other check stays",
    )
    if len(published.counts) > 1:
        for kind, usual in (
            ("train", [name for name in published.counts if name.startswith("train")]),
            ("dev", ["dev-clean"]),
            ("test", ["test-clean", "test-other"]),
        ):
            parser.add_argument(
                f"--{kind}_subsets",
                nargs="+",
                default=usual,
                choices=sorted(published.counts),
                metavar="SUBSET",
                help=f"default: {' '.join(usual)}",
            )
    return parser


def obtain(args: argparse.Namespace, published: Published, subsets: Sequence[str]) -> Path:
    """The corpus' folder, with ``subsets`` fetched if that was asked for."""
    root = corpus_folder(args.downloads.resolve(), published)
    if args.download == "true":
        fetch([published.archives[name] for name in subsets], root, args.mirror)
    return root


def write_sets(
    sets: Mapping[str, Mapping[str, Recording]], data_dir: Path, remarks: Sequence[str], licence: str
) -> list[str]:
    """Data directories, PREPARATION.txt (the report, returned) and LICENSE.txt. Text and sets are checked.

    Raises:
        SiTokError: an utterance in two sets, an empty set, a training set without any words.
    """
    seen: dict[str, str] = {}
    report = list(remarks)
    for name, members in sets.items():
        if not any(item.text for item in members.values()):
            raise SiTokError(f"the set {name} has no utterance with a text")
        for utterance in members:
            if seen.setdefault(utterance, name) != name:
                raise SiTokError(f"{utterance} is in the sets {seen[utterance]} and {name}")
        speakers = len({item.speaker for item in members.values()})
        count = sum(len(item.text.split()) for item in members.values())
        silent = sum(not item.text for item in members.values())
        without = f", {silent} of them without words in their text" if silent else ""
        report.append(f"{name}: {len(members)} utterances{without}, {speakers} speakers, {count} words")
    for name, members in sets.items():
        write_data_dir(
            data_dir / name,
            {utterance: str(item.path) for utterance, item in members.items()},
            {utterance: item.speaker for utterance, item in members.items()},
            {utterance: item.text for utterance, item in members.items()},
        )
    for name, content in (("PREPARATION.txt", "\n".join(report)), ("LICENSE.txt", licence)):
        with atomic_text(data_dir / name) as out:
            out.write(content.rstrip() + "\n")
    return report


def prepare_subsets(
    args: argparse.Namespace, published: Published, read_subset: Callable[[Path, str], Mapping[str, Recording]]
) -> list[str]:
    """The data directories of a corpus with subsets: train and dev of some each, every test subset its own."""
    plan = {"train": args.train_subsets, "dev": args.dev_subsets}
    plan |= {set_name(name): [name] for name in args.test_subsets}
    wanted = [name for names in plan.values() for name in names]
    if twice := sorted({name for name in wanted if wanted.count(name) > 1}):
        raise SiTokError(f"{', '.join(twice)} would be in two sets, or twice in one")
    root = obtain(args, published, wanted)
    require_subsets(root, wanted, published)
    sets: dict[str, dict[str, Recording]] = {name: {} for name in plan}
    remarks = []
    for set_, names in plan.items():
        for name in names:
            members = read_subset(root, name)
            remarks.append(count_remark(len(members), published.counts[name], name, args.partial == "true"))
            sets[set_].update(members)
    return write_sets(sets, args.data_dir, [line for line in remarks if line], published.licence)


def count_remark(found: int, expected: int | None, name: str, partial: bool) -> str | None:
    """A line of the report; SiTokError for too few, unless parts were allowed."""
    if expected is None:
        return f"{found} utterances in {name} (how many were published is not known here)"
    return check_count(found, expected, f"utterances in {name}", partial)


def run(prepare: Callable[[argparse.Namespace], list[str]], parser: argparse.ArgumentParser, argv=None) -> None:
    """A preparation's command line. Data directories of an earlier run do not look finished any more."""
    args = parser.parse_args(argv)
    for path in (*args.data_dir.glob("train*/wav.scp"), *args.data_dir.glob("dev*/wav.scp"),
                 *args.data_dir.glob("test*/wav.scp")):  # fmt: skip
        path.unlink()
    try:
        report = prepare(args)
    except SiTokError as error:
        sys.exit(f"error: {error}")
    print("\n".join(report))
