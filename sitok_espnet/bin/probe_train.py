"""Train one probe (ESPnet's options); the recipe trains many at once with probe_sweep."""

import sys

from sitok_espnet.bin.training import train
from sitok_espnet.tasks.probe import ProbeTask


def main(cmd=None) -> int:
    """Entry point; ``cmd`` is a list of arguments, by default those of the process."""
    return train(ProbeTask, "probe_train", cmd)


if __name__ == "__main__":
    sys.exit(main())
