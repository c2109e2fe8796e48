"""Train the token language model, or collect its lengths (stages 4 and 5 of sitok_tts1)."""

import sys

from sitok_espnet.bin.training import train
from sitok_espnet.tasks.speechlm import SpeechLMTask


def main(cmd=None) -> int:
    """Entry point; ``cmd`` is a list of arguments, by default those of the process."""
    return train(SpeechLMTask, "speechlm_train", cmd)


if __name__ == "__main__":
    sys.exit(main())
