"""Train a SiTok tokenizer, or collect its statistics (stages 4 and 5 of the recipe)."""

import sys

from sitok_espnet.errors import SiTokError
from sitok_espnet.tasks.sitok import SiTokTask


def main(cmd=None) -> int:
    """Entry point; ``cmd`` is a list of arguments, by default those of the process."""
    try:
        SiTokTask.main(cmd=cmd)
    except SiTokError as error:
        print(f"sitok_train: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
