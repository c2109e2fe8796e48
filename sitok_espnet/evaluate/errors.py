"""What a metric may say instead of a number."""

from sitok_espnet.errors import SiTokError


class MetricUnavailable(SiTokError):
    """The metric cannot run here; the message is the reason that the table's "not run" cell gives."""


class NotMeasurable(SiTokError):
    """This utterance cannot be measured (too short, silent ...): it is excluded, counted and reported."""
