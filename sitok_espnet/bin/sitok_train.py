"""Train a SiTok tokenizer, or collect its statistics (stages 4 and 5 of the recipe)."""

import sys

from sitok_espnet.bin.training import train
from sitok_espnet.tasks.sitok import SiTokTask


def main(cmd=None) -> int:
    """Entry point; ``cmd`` is a list of arguments, by default those of the process."""
    return train(SiTokTask, "sitok_train", cmd)


if __name__ == "__main__":
    sys.exit(main())
