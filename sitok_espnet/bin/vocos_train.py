"""Train a Vocos vocoder for the mel of the tokenizer (stage 6 of the recipe)."""

import sys

from sitok_espnet.errors import SiTokError
from sitok_espnet.tasks.vocos import VocosTask


def main(cmd=None) -> int:
    """Entry point; ``cmd`` is a list of arguments, by default those of the process."""
    try:
        VocosTask.main(cmd=cmd)
    except SiTokError as error:
        print(f"vocos_train: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
