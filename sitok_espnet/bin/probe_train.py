"""Train one probe (ESPnet's options); the recipe trains many at once with probe_sweep."""

import sys

from sitok_espnet.errors import SiTokError
from sitok_espnet.tasks.probe import ProbeTask


def main(cmd=None) -> int:
    """Entry point; ``cmd`` is a list of arguments, by default those of the process."""
    try:
        ProbeTask.main(cmd=cmd)
    except SiTokError as error:
        print(f"probe_train: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
