"""Character error rate."""

from sitok_espnet.evaluate.metrics.error_rate import ErrorRate
from sitok_espnet.evaluate.text import normalize_characters


class CharacterErrorRate(ErrorRate):
    """Character errors of the offline recogniser over reference characters, spaces between words included."""

    name = "cer"
    title = "CER (pocketsphinx, knows the words)"
    unit = "errors per reference character"
    has_kinds = False  # of characters they say little, and cost much
    units = staticmethod(normalize_characters)
