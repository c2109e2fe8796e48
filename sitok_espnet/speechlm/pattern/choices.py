"""The patterns by name: a new one is a file beside these and a line here."""

from sitok_espnet.errors import SiTokError
from sitok_espnet.speechlm.pattern.abs_pattern import AbsPattern
from sitok_espnet.speechlm.pattern.delay import DelayPattern
from sitok_espnet.speechlm.pattern.flatten import FlattenPattern
from sitok_espnet.speechlm.vocabulary import JointVocabulary

PATTERNS: dict[str, type[AbsPattern]] = {"flatten": FlattenPattern, "delay": DelayPattern}


def build_pattern(name: str, vocabulary: JointVocabulary) -> AbsPattern:
    """Raises SiTokError for an unknown name."""
    if name not in PATTERNS:
        raise SiTokError(f"unknown pattern {name!r}: choose one of {', '.join(PATTERNS)}")
    return PATTERNS[name](vocabulary)
