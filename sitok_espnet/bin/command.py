"""What the commands of the recipes share."""

import logging
import sys
from collections.abc import Callable

from sitok_espnet.errors import SiTokError


def run_command(name: str, work: Callable[[], None]) -> int:
    """Do the work with log lines; returns the exit status: 2 and one line on stderr for an error meant for people."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s (%(module)s:%(lineno)d) %(levelname)s: %(message)s")
    try:
        work()
    except SiTokError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 2
    return 0
