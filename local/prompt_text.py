"""From the transcript list of an Asterisk prompt package to words that are really spoken."""

from __future__ import annotations

import gzip
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from num2words import num2words
from prompt_languages import LANGUAGES, Language

from sitok_espnet.errors import SiTokError

# Remarks in brackets describe the recording. One that names a sound means that (part of) it is not speech.
_REMARK = re.compile(r"\[[^]]*\]|<[^>]*>|\([^)]*\)")
_NOT_SPEECH = re.compile(r"beep|tone|sound|silence", re.IGNORECASE)
_INITIALS = re.compile(r"\b(?:[a-z]\.)+[a-z]\b\.?")  # a.m. and p.m.
# Two prompts on one line of a list: the second begins with its key.
_NEXT_PROMPT = re.compile(r"\b[a-z]+(?:-[a-z]+)+:")


@dataclass(frozen=True)
class Cleaned:
    """The words of a prompt, or None and the reason why it is left out."""

    words: str | None
    reason: str = ""


def read_transcripts(path: str | Path, lang: str = "en") -> dict[str, str]:
    """Read `key: text` lines of a gzipped list (comments begin with `;`, a byte-order mark is allowed)."""
    corrections = language(lang).lines
    transcripts: dict[str, str] = {}
    with gzip.open(path, "rt", encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            line = line.strip()
            if not line or line.startswith(";"):
                continue
            key, colon, text = corrections.get(line, line).partition(":")
            if not colon:
                raise SiTokError(f"{path}:{number}: expected `key: text`, found {line!r}")
            if key in transcripts:
                raise SiTokError(f"{path}:{number}: the prompt {key!r} occurs twice")
            transcripts[key] = _one_prompt(key, text.strip())
    return transcripts


def _one_prompt(key: str, text: str) -> str:
    """The text of one prompt where a line repeats its key or goes on with another prompt."""
    return _NEXT_PROMPT.split(text.removeprefix(f"{key}:"), maxsplit=1)[0].strip()


def language(lang: str) -> Language:
    """The particulars of a language's list; SiTokError names the known ones."""
    if lang not in LANGUAGES:
        raise SiTokError(f"--langs {lang}: the prompt languages are {', '.join(LANGUAGES)}")
    return LANGUAGES[lang]


def spell_number(digits: str, lang: str) -> str:
    """Spell a number as the prompts say it.

    Up to three digits is a quantity ("500" five hundred); four and more are extensions and passwords, said digit by
    digit. A decimal point (or comma) is spoken.
    """
    digits = digits.replace(",", ".")
    parts = [digits] if "." in digits or len(digits) <= 3 else list(digits)
    return " ".join(num2words(float(p) if "." in p else int(p), lang=lang) for p in parts)


def clean(text: str, lang: str = "en", rules: Language | None = None) -> Cleaned:
    """Normalise one transcript to lower-case words of letters (with their accents) and apostrophes.

    rules: the particulars of the list; those of the language's prompts by default.
    """
    if any(_NOT_SPEECH.search(remark) for remark in _REMARK.findall(text)):
        return Cleaned(None, "a beep, another sound or silence")
    words = spoken_words(_REMARK.sub(" ", text), lang, rules)
    return Cleaned(words) if words else Cleaned(None, "no words in the transcript")


def spoken_words(text: str, lang: str = "en", rules: Language | None = None) -> str:
    """Lower-case words of letters (with their accents) and apostrophes, numbers spelled out; "" if there are none."""
    rules = rules or language(lang)
    text = unicodedata.normalize("NFC", text).lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    for wrong, right in (*rules.fragments.items(), *rules.symbols.items()):
        text = text.replace(wrong, right)
    text = _INITIALS.sub(lambda m: m.group().replace(".", " "), text)
    # "h.323" and "3d" are letters and digits said one by one, "28.8" is one number.
    text = re.sub(r"([a-z])\.?(\d+)", lambda m: f"{m[1]} {' '.join(m[2])}", text)
    number = rf"(\d+(?:[{rules.decimal_marks}]\d+)?)"
    text = re.sub(number, lambda m: f" {spell_number(m[1], lang)} ", text)
    # Everything but letters and an apostrophe inside a word separates words.
    words = re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)*", text)
    return " ".join(rules.words.get(word, word) for word in words)
