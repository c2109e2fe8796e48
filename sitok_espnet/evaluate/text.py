"""The one text normalisation used by every text metric, on the reference and on the hypothesis alike (ours)."""

import re
import unicodedata

_DIGITS = {
    "0": "zero",
    "1": "one",
    "2": "two",
    "3": "three",
    "4": "four",
    "5": "five",
    "6": "six",
    "7": "seven",
    "8": "eight",
    "9": "nine",
}
_APOSTROPHES = str.maketrans({"\u2019": "'", "\u2018": "'", "\u02bc": "'", "`": "'"})
_NOT_WORD = re.compile(r"[^\w' ]|_")
_OUTER_APOSTROPHE = re.compile(r"(?<!\w)'+|'+(?!\w)")


def normalize_words(text: str) -> list[str]:
    """Split a transcript into comparable words.

    NFKC, lower case, digits read one by one ("10" -> "one zero"), apostrophes kept inside words only, every other
    mark (hyphens too) turned into a space. Scripts other than Latin keep their letters.
    """
    text = unicodedata.normalize("NFKC", text).translate(_APOSTROPHES).lower()
    text = "".join(f" {_DIGITS[char]} " if char in _DIGITS else char for char in text)
    text = _NOT_WORD.sub(" ", text)
    return _OUTER_APOSTROPHE.sub(" ", text).split()


def normalize_characters(text: str) -> list[str]:
    """Characters of the normalised transcript, single spaces between words included (ESPnet counts them too)."""
    return list(" ".join(normalize_words(text)))
