"""Train the token language model, or collect its lengths (stages 4 and 5 of sitok_tts1)."""

import sys

from sitok_espnet.errors import SiTokError
from sitok_espnet.tasks.speechlm import SpeechLMTask


def main(cmd=None) -> int:
    """Entry point; ``cmd`` is a list of arguments, by default those of the process."""
    try:
        SpeechLMTask.main(cmd=cmd)
    except SiTokError as error:
        print(f"speechlm_train: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
