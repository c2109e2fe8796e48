"""Train all probes of a recipe in one process, or in a few (stage 5): importing ESPnet takes longer than a small probe.

Finished probes are left alone, interrupted ones resume; a probe in a folder of another training is refused.
"""

import argparse
import logging
import shlex
import sys
import time
from contextlib import contextmanager

from sitok_espnet.bin.command import run_command
from sitok_espnet.errors import SiTokError


def get_parser() -> argparse.ArgumentParser:
    from sitok_espnet.probes.command import add_plan_options

    parser = argparse.ArgumentParser(description=__doc__)
    add_plan_options(parser)
    parser.add_argument("--train_args", default="", help="more options of probe_train, in one string")
    parser.add_argument("--ngpu", type=int, default=0)
    parser.add_argument("--num_jobs", type=int, default=1, help="processes that share the probes")
    parser.add_argument("--job", type=int, default=1, help="number of this process, from 1")
    return parser


def main(argv=None) -> int:
    """Entry point."""
    args = get_parser().parse_args(argv)
    return run_command("probe_sweep", lambda: run(args))


def run(args: argparse.Namespace) -> None:
    """Train the share of this process."""
    from sitok_espnet.evaluate.files import write_text
    from sitok_espnet.probes.command import planned_jobs
    from sitok_espnet.probes.plan import DONE

    if not 1 <= args.job <= args.num_jobs:
        raise SiTokError(f"--job must be 1 to --num_jobs ({args.num_jobs}), not {args.job}")
    more = ["--ngpu", str(args.ngpu), *shlex.split(args.train_args)]
    jobs = planned_jobs(args)[args.job - 1 :: args.num_jobs]
    for job in jobs:  # all of them before the first hour of training
        job.check_fingerprint(more)
    for number, job in enumerate(jobs, 1):
        if (job.folder / DONE).is_file():
            print(f"{job.title}: trained already", flush=True)
            continue
        from sitok_espnet.tasks.probe import ProbeTask  # slow to import, and not needed where all is done

        job.write_shapes()
        began = time.monotonic()
        with log_file(job.folder / "train.log"):
            ProbeTask.main(cmd=job.arguments(more))
        write_text(job.folder / DONE, f"{time.monotonic() - began:.1f} s\n")
        print(f"{job.title}: done in {time.monotonic() - began:.0f} s ({number} of {len(jobs)})", flush=True)


@contextmanager
def log_file(path):
    """What is logged goes to this file, too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s (%(module)s:%(lineno)d) %(levelname)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


if __name__ == "__main__":
    sys.exit(main())
