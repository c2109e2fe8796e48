#!/usr/bin/env python3
"""The SeedTTS test sets (github.com/BytedanceSpeech/seed-tts-eval) as data directories, for resynthesis.

A line of ``<lang>/meta.lst`` is ``id|text of the prompt|prompt audio|text to be spoken`` and maybe ``|its recording``;
paths are relative to the list's folder. Without the fifth field the recording is ``wavs/<id>.wav`` beside the list.
What is resynthesised is that recording; the prompt is another recording of the same speaker, against which the test's
own speaker similarity is measured.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from recipe_files import atomic_text, write_data_dir, write_table

from sitok_espnet.errors import SiTokError

PUBLISHED = {"en": 1088, "zh": 2020}  # lines of meta.lst
EXAMPLES = 3


@dataclass(frozen=True)
class Entry:
    """One line: id, transcript of the recording, recording, prompt."""

    utterance: str
    text: str
    recording: Path
    prompt: Path

    def speaker(self, language: str) -> str:
        """Mandarin ids are speaker-number. English ones are Common Voice clips: those that share a prompt share a
        speaker (whether two prompts do is not said, so that a few impostor trials may be none)."""
        if language == "zh" and "-" in self.utterance:
            return f"zh-{self.utterance.partition('-')[0]}"
        return f"{language}-{self.prompt.stem}"


def find_set(source: Path, language: str) -> Path:
    """The folder of a language: in ``source`` or in its seedtts_testset/."""
    for folder in (source / language, source / "seedtts_testset" / language):
        if (folder / "meta.lst").is_file():
            return folder
    raise SiTokError(
        f"{source / language / 'meta.lst'} does not exist: unpack the SeedTTS test sets (see README.md) and name their "
        'folder in db.sh (SEEDTTS=...) or with --downloads; one language only: --local_data_opts "--langs en" '
        "--test_sets test_en"
    )


def read_meta(folder: Path) -> list[Entry]:
    """The lines of meta.lst; SiTokError with file and line for one that is not of the format, or an id twice."""
    path = folder / "meta.lst"
    entries, seen = [], {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        fields = [field.strip() for field in line.split("|")]
        if len(fields) not in (4, 5) or not all(fields):
            raise SiTokError(
                f"{path}:{number}: expected id|prompt text|prompt wav|text or id|prompt text|prompt wav|text|wav, "
                f"found {len(fields)} fields" + (", one of them empty" if len(fields) in (4, 5) else "")
            )
        utterance = fields[0].removesuffix(".wav")
        if "/" in utterance or len(utterance.split()) != 1:
            raise SiTokError(f"{path}:{number}: the id {utterance!r} has a slash or a blank")
        if utterance in seen:
            raise SiTokError(f"{path}:{number}: the id {utterance} occurs twice (first in line {seen[utterance]})")
        seen[utterance] = number
        recording = fields[4] if len(fields) == 5 else f"wavs/{utterance}.wav"
        entries.append(Entry(utterance, fields[3], folder / recording, folder / fields[2]))
    return entries


def prepare(source: Path, language: str, out: Path, allow_partial: bool) -> str:
    """Write ``<out>/test_<language>``; returns a line for the report.

    A copy with fewer lines than published, or with recordings or prompts missing, is refused: its numbers would not be
    those of the test. With ``allow_partial`` what is there is taken, and the report says how much that is.
    """
    folder = find_set(source, language)
    entries = read_meta(folder)
    problems = []
    if len(entries) != PUBLISHED[language]:
        problems.append(f"{len(entries)} lines, published are {PUBLISHED[language]:,}")
    for name in ("recording", "prompt"):
        if missing := [str(path) for e in entries if not (path := getattr(e, name)).is_file()]:
            more = f" and {len(missing) - EXAMPLES} more" if len(missing) > EXAMPLES else ""
            problems.append(f"{len(missing)} {name}s are missing: {', '.join(missing[:EXAMPLES])}{more}")
    if problems and not allow_partial:
        raise SiTokError(
            f"{folder / 'meta.lst'}: not the whole test set: {'; '.join(problems)} "
            '(--local_data_opts "--allow_partial true" takes what is there)'
        )
    there = [entry for entry in entries if entry.recording.is_file() and entry.prompt.is_file()]
    if not there:
        raise SiTokError(f"{folder}: no utterance has its recording and its prompt")
    target = out / f"test_{language}"
    write_table(target / "prompt.scp", {e.utterance: str(e.prompt.resolve()) for e in there})
    write_data_dir(
        target,
        {e.utterance: str(e.recording.resolve()) for e in there},
        {e.utterance: e.speaker(language) for e in there},
        {e.utterance: e.text for e in there},
        utt2lang={e.utterance: language for e in there},
    )
    whole = "" if len(there) == PUBLISHED[language] else f" of {PUBLISHED[language]:,}: a partial copy"
    speakers = len({entry.speaker(language) for entry in there})
    return f"test_{language}: {len(there):,} utterances{whole}, {speakers:,} speakers"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="folder with en/meta.lst and zh/meta.lst")
    parser.add_argument("--langs", nargs="+", default=sorted(PUBLISHED), choices=sorted(PUBLISHED))
    parser.add_argument("--out", type=Path, default=Path("data"), help="where test_en and test_zh go")
    parser.add_argument("--allow_partial", action="store_true", help="take what is there of an incomplete copy")
    args = parser.parse_args(argv)
    try:
        report = [prepare(args.source, language, args.out, args.allow_partial) for language in args.langs]
    except SiTokError as error:
        sys.exit(f"error: {error}")
    with atomic_text(args.out / "PREPARATION.txt") as out:
        out.write("\n".join(report) + "\n")
    print("\n".join(report))


if __name__ == "__main__":
    main()
