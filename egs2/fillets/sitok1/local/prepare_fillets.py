#!/usr/bin/env python3
"""Data directories from the unpacked packages of the game Fish Fillets - Next Generation.

`fillets-ng-data` has the texts (Lua scripts), `fillets-ng-data-<lang>` the voices (Ogg Vorbis). The colour in which a
line is shown, its font, says who speaks: the two fish of the title have one of their own, other parts one within a
level. The result depends on the packages alone: a second run writes the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from prompt_languages import Language
from prompt_text import clean
from speech_sets import Corpus, Sizes, run

from sitok_espnet.errors import SiTokError

GAME = "usr/share/games/fillets-ng"
RULES = Language(
    credit="ALTAR interactive, Ivo Danihelka, Pavel Danihelka and the translators and actors of the game",
    licence="GPL-2",
    decimal_marks=".,",
)


@dataclass(frozen=True)
class Voices:
    """One language: (rate in Hz, channels) of the recordings that belong to the set, and what differs from it."""

    rate: int
    channels: int
    other_takes: str


VOICES = {
    "cs": Voices(22050, 1, "another recording (44.1 kHz or stereo: other voices and rooms)"),
    "nl": Voices(22050, 2, "another recording (not 22.05 kHz stereo)"),
}
SIZES = Sizes(test=60, dev=30)

_STRING = r'"((?:[^"\\]|\\.)*)"'
_LINE = re.compile(
    rf"dialogId\(\s*{_STRING}\s*,\s*{_STRING}\s*,\s*{_STRING}\s*\)\s*dialogStr\(\s*{_STRING}\s*\)", re.DOTALL
)
_COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)


@dataclass(frozen=True)
class Line:
    """One line of dialogue: the font it is shown in, and its text in the wanted language."""

    font: str
    text: str


def unescape(text: str) -> str:
    r"""The value of a Lua string: `\n` is a line break, any other `\x` is x."""
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], text)


def read_dialogs(tree: Path, lang: str) -> dict[tuple[str, str], Line]:
    """(level, id of the line) -> line, of every level's `*dialogs_<lang>.lua`."""
    lines: dict[tuple[str, str], Line] = {}
    for path in sorted((tree / GAME / "script").glob(f"*/*dialogs_{lang}.lua")):
        for name, font, _, text in _LINE.findall(_COMMENT.sub("", path.read_text(encoding="utf-8"))):
            key, line = (path.parent.name, name), Line(font.removeprefix("font_"), unescape(text))
            if lines.setdefault(key, line) != line:
                raise SiTokError(f"{path}: {name} occurs twice in {path.parent.name} with different texts")
    return lines


def find_recordings(tree: Path, lang: str) -> dict[tuple[str, str], Path]:
    """(level, id of the line) -> recording."""
    recordings: dict[tuple[str, str], Path] = {}
    for path in sorted((tree / GAME / "sound").rglob(f"{lang}/*.ogg")):
        key = (path.relative_to(tree / GAME / "sound").parts[0], path.stem)
        if key in recordings:
            raise SiTokError(f"{path}: {recordings[key]} has the same name in the same level")
        recordings[key] = path
    return recordings


def read_mono(path: Path, voices: Voices) -> tuple[np.ndarray | None, str]:
    """Float samples (S,) of a recording, its channels averaged; or None and the reason why it is left out."""
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise SiTokError(f"{path}: not readable ({error})") from error
    if len(samples) == 0:
        return None, "an empty recording"
    if (rate, samples.shape[1]) != (voices.rate, voices.channels):
        return None, voices.other_takes
    return samples.mean(axis=1), ""


def spoken(line: Line | None, lang: str) -> tuple[str | None, str]:
    """The words of a line, or None and the reason why it is left out."""
    if line is None:
        return None, "a recording without a text"
    if line.font == "both":
        return None, "two speakers at once"
    if "%" in line.text:
        return None, "a text that the game puts together"
    cleaned = clean(line.text, lang, RULES)
    return cleaned.words, cleaned.reason.replace("transcript", "text")


def identify(lang: str, level: str, name: str, font: str) -> tuple[str, str]:
    """Speaker and utterance id: small and big are the two fish, another font is another part in every level."""
    fish = font in ("small", "big")
    speaker, rest = (font, f"{level}-{name}") if fish else (f"{level}-{font}", name)
    prefix = f"fillets-{lang}"
    return tuple(re.sub(r"[^A-Za-z0-9-]", "-", i) for i in (f"{prefix}-{speaker}", f"{prefix}-{speaker}-{rest}"))


def prepare_language(tree: Path, audio_dir: Path, lang: str) -> Corpus:
    """Decode the usable lines of one language into `audio_dir`."""
    lines, recordings = read_dialogs(tree, lang), find_recordings(tree, lang)
    if not lines or not recordings:
        raise SiTokError(
            f"{tree}: found {len(lines)} texts and {len(recordings)} recordings in '{lang}': the packages "
            f"fillets-ng-data and fillets-ng-data-{lang} are needed"
        )
    corpus = Corpus()
    corpus.left_out["a text without a recording"] = len(set(lines) - set(recordings))
    clipped = clipped_files = 0
    for (level, name), path in recordings.items():
        line = lines.get((level, name))
        words, reason = spoken(line, lang)
        samples = None
        if words is not None:
            samples, reason = read_mono(path, VOICES[lang])
        if samples is None:
            corpus.left_out[reason] += 1
            continue
        # Vorbis restores loud passages beyond full scale.
        over = int(np.count_nonzero(np.abs(samples) > 1.0))
        clipped, clipped_files = clipped + over, clipped_files + (over > 0)
        samples = np.rint(np.clip(samples * 32768.0, -32768, 32767)).astype(np.int16)
        speaker, utterance = identify(lang, level, name, line.font)
        corpus.add(utterance, speaker, words, samples, VOICES[lang].rate, audio_dir)
    if clipped:
        total = sum(corpus.seconds.values()) * VOICES[lang].rate
        corpus.notes.append(
            f"{clipped} samples ({100 * clipped / total:.3f} %) in {clipped_files} of {len(corpus.wavs)} recordings "
            "clipped at full scale"
        )
    return corpus


def licence_text(langs: Sequence[str]) -> str:
    packages = " and ".join(["fillets-ng-data", *(f"fillets-ng-data-{lang}" for lang in langs)])
    return (
        "Texts and voices of the game Fish Fillets - Next Generation, https://fillets.sourceforge.net\n"
        f"(c) {RULES.credit}\n"
        "Licence: GNU General Public License, version 2 (GPL-2), https://www.gnu.org/licenses/old-licenses/gpl-2.0.html\n"
        f"Source: Debian packages {packages}.\n"
        "Changed here: decoded to mono FLAC, texts normalised, split into sets.\n"
        "The licence is not that of this repository: weights trained on this speech are not published with it.\n"
    )


def main(argv: list[str] | None = None) -> None:
    run(__doc__, VOICES, "cs", prepare_language, lambda lang: SIZES, licence_text, argv)


if __name__ == "__main__":
    main()
