"""What the training commands share."""

import sys
from collections.abc import Sequence

from espnet2.tasks.abs_task import AbsTask

from sitok_espnet.errors import SiTokError
from sitok_espnet.nn.distributed import leave


def train(task: type[AbsTask], name: str, cmd: Sequence[str] | None) -> int:
    """Run a task's command line; returns the exit status.

    Args:
        task: it has the options.
        name: of the command, for messages.
        cmd: arguments, by default those of the process.
    """
    try:
        task.main(cmd=cmd)
    except SiTokError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        return 2
    leave()
    return 0
