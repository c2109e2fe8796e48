"""A pronouncing dictionary for exactly the words that a recogniser needs.

Order of sources: the recogniser's own dictionary, then ``pronunciations.txt`` beside this file, then spelling rules.
A word that only the rules could pronounce is reported by name: its errors may be the rules' and not the voice's.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sitok_espnet.errors import SiTokError

OWN_PRONUNCIATIONS = Path(__file__).with_name("pronunciations.txt")

_LETTER_NAMES = {
    "a": "EY",
    "b": "B IY",
    "c": "S IY",
    "d": "D IY",
    "e": "IY",
    "f": "EH F",
    "g": "JH IY",
    "h": "EY CH",
    "i": "AY",
    "j": "JH EY",
    "k": "K EY",
    "l": "EH L",
    "m": "EH M",
    "n": "EH N",
    "o": "OW",
    "p": "P IY",
    "q": "K Y UW",
    "r": "AA R",
    "s": "EH S",
    "t": "T IY",
    "u": "Y UW",
    "v": "V IY",
    "w": "D AH B AH L Y UW",
    "x": "EH K S",
    "y": "W AY",
    "z": "Z IY",
}
# English spelling, longest first: rough, and only for words that no dictionary has.
_SPELLINGS = {
    "tion": "SH AH N",
    "sion": "ZH AH N",
    "ight": "AY T",
    "tch": "CH",
    "igh": "AY",
    "eer": "IH R",
    "ear": "IH R",
    "air": "EH R",
    "our": "AO R",
    "ck": "K",
    "ch": "CH",
    "sh": "SH",
    "th": "TH",
    "ph": "F",
    "wh": "W",
    "qu": "K W",
    "ng": "NG",
    "kn": "N",
    "wr": "R",
    "ee": "IY",
    "ea": "IY",
    "ai": "EY",
    "ay": "EY",
    "ey": "IY",
    "ie": "IY",
    "oa": "OW",
    "oo": "UW",
    "ou": "AW",
    "ow": "OW",
    "oi": "OY",
    "oy": "OY",
    "au": "AO",
    "aw": "AO",
    "er": "ER",
    "ir": "ER",
    "ur": "ER",
    "ar": "AA R",
    "or": "AO R",
    "a": "AE",
    "b": "B",
    "c": "K",
    "d": "D",
    "e": "EH",
    "f": "F",
    "g": "G",
    "h": "HH",
    "i": "IH",
    "j": "JH",
    "k": "K",
    "l": "L",
    "m": "M",
    "n": "N",
    "o": "AA",
    "p": "P",
    "q": "K",
    "r": "R",
    "s": "S",
    "t": "T",
    "u": "AH",
    "v": "V",
    "w": "W",
    "x": "K S",
    "y": "IY",
    "z": "Z",
}
_VOWELS = set("aeiouy")


@dataclass(frozen=True)
class Dictionary:
    """Pronunciations of a closed vocabulary.

    Attributes:
        pronunciations: word -> pronunciations, each a string of phones with spaces.
        by_rule: the words that only the spelling rules could pronounce, sorted.
    """

    pronunciations: dict[str, tuple[str, ...]]
    by_rule: tuple[str, ...]

    def text(self) -> str:
        """The dictionary in the recogniser's format: further pronunciations are numbered, ``word(2)``."""
        lines = []
        for word in sorted(self.pronunciations):
            for number, phones in enumerate(self.pronunciations[word], 1):
                lines.append(f"{word if number == 1 else f'{word}({number})'} {phones}")
        return "\n".join(lines) + "\n"


def pronounce_by_rule(word: str) -> str:
    """Phones of a word from its spelling; a word without a vowel letter is read letter by letter."""
    letters = [char for char in word if char in _LETTER_NAMES]
    if not letters:
        raise SiTokError(
            f"no English pronunciation for {word!r}: the offline recogniser knows English only; "
            f"add the word to {OWN_PRONUNCIATIONS.name} or leave WER and CER out (--metrics)"
        )
    if not _VOWELS & set(letters):
        return " ".join(_LETTER_NAMES[letter] for letter in letters)
    if len(letters) > 3 and letters[-1] == "e" and letters[-2] not in _VOWELS:
        letters.pop()  # the silent e of "prebake"
    spelling, phones = "".join(letters), []
    while spelling:
        size = next(size for size in (4, 3, 2, 1) if spelling[:size] in _SPELLINGS)
        phones.append(_SPELLINGS[spelling[:size]])
        size += int(size == 1 and spelling[:1] == spelling[1:2])  # a doubled consonant is one sound
        spelling = spelling[size:]
    return " ".join(phones)


def read_pronunciations(path: Path, wanted: set[str]) -> dict[str, list[str]]:
    """Pronunciations of the wanted words from a dictionary file (``word`` or ``word(2)``, then phones; # comments)."""
    found: dict[str, list[str]] = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            word, _, phones = line.strip().partition(" ")
            word = word.partition("(")[0]
            if word in wanted and phones:
                found.setdefault(word, []).append(" ".join(phones.split()))
    return found


def build_dictionary(words: Iterable[str], base: Path) -> Dictionary:
    """Pronounce every word: from ``base``, else from ``pronunciations.txt``, else by rule."""
    wanted = set(words)
    found = read_pronunciations(OWN_PRONUNCIATIONS, wanted)
    found.update(read_pronunciations(base, wanted))
    by_rule = sorted(wanted - found.keys())
    found.update({word: [pronounce_by_rule(word)] for word in by_rule})
    return Dictionary({word: tuple(phones) for word, phones in found.items()}, tuple(by_rule))
