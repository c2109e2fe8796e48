"""Word error rate."""

from sitok_espnet.evaluate.metrics.error_rate import ErrorRate
from sitok_espnet.evaluate.text import normalize_words


class WordErrorRate(ErrorRate):
    """Word errors of the offline recogniser over reference words."""

    name = "wer"
    title = "WER (pocketsphinx, knows the words)"
    unit = "errors per reference word"
    units = staticmethod(normalize_words)
