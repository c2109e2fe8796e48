"""The one exception type that is written for people."""


class SiTokError(ValueError):
    """Something the user can mend: the message names the file or option at fault and the remedy."""
