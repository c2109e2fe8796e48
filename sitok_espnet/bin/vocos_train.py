"""Train a Vocos vocoder for the mel of the tokenizer (stage 6 of the recipe)."""

import sys

from sitok_espnet.bin.training import train
from sitok_espnet.tasks.vocos import VocosTask


def main(cmd=None) -> int:
    """Entry point; ``cmd`` is a list of arguments, by default those of the process."""
    return train(VocosTask, "vocos_train", cmd)


if __name__ == "__main__":
    sys.exit(main())
