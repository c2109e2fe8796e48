#!/usr/bin/env python3
"""Run a command, or numbered copies of it, on this machine or through slurm, each with a log file of its own.

usage: launch_jobs.py --backend local|slurm [options] [JOB=FIRST:LAST] LOG COMMAND [ARGUMENT ...]

With JOB=1:4 the text JOB is replaced by 1, 2, 3, 4 in the log's name and in every argument. When one job fails, the
others are ended and the closing lines of its log are shown. The order of the arguments is what espnet2.bin.launch
calls.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

TAIL_LINES = 30


@dataclass(frozen=True)
class Jobs:
    """What to run: `name` is the placeholder (None for a single job), `numbers` its values."""

    name: str | None
    numbers: tuple[int, ...]
    log: str
    command: tuple[str, ...]

    def at(self, number: int | str) -> tuple[str, list[str]]:
        """Log file and argument list of one job."""
        if self.name is None:
            return self.log, list(self.command)
        return self.log.replace(self.name, str(number)), [a.replace(self.name, str(number)) for a in self.command]


def parse_jobs(words: list[str]) -> Jobs:
    """Read `[NAME=FIRST:LAST] LOG COMMAND ...`; ValueError says what is wrong."""
    name, numbers = None, (1,)
    if words and (match := re.fullmatch(r"([A-Za-z]\w*)=(\d+)(?::(\d+))?", words[0])):
        name, first = match[1], int(match[2])
        numbers = tuple(range(first, int(match[3] or first) + 1))
        words = words[1:]
        if not numbers:
            raise ValueError(f"{match[0]} is an empty range")
    if len(words) < 2:
        raise ValueError("a log file and a command are needed")
    if name and len(numbers) > 1 and name not in words[0]:
        raise ValueError(f"the log file {words[0]} must have {name} in its name, or the jobs would share it")
    return Jobs(name, numbers, words[0], tuple(words[1:]))


def tail(log: str) -> str:
    """The closing lines of a log file, framed."""
    path = Path(log)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:] if path.is_file() else []
    return "\n".join([f"----- the end of {log} -----", *lines, "-----"])


def threads_per_job(parallel: int, asked: int | None, gpus: int) -> int:
    """CPU threads of a process: what was asked for, else an equal share of the cores, at most the user's setting.

    A job has a process for each of its GPUs (one if it has none). Several processes that each start a thread per core
    are many times slower than one thread each.
    """
    share = asked or max(1, len(os.sched_getaffinity(0)) // (parallel * max(1, gpus)))
    return min(share, int(os.environ.get("OMP_NUM_THREADS") or share))


def visible_gpus() -> list[str]:
    """The GPUs that jobs may be spread over: CUDA_VISIBLE_DEVICES, else what nvidia-smi lists."""
    if os.environ.get("CUDA_VISIBLE_DEVICES"):
        return os.environ["CUDA_VISIBLE_DEVICES"].split(",")
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
    return [str(i) for i in range(sum(line.startswith("GPU ") for line in listed.splitlines()))]


def end_all(processes: list[subprocess.Popen]) -> None:
    """End the process groups: ask first, then insist."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        for process in processes:
            if process.poll() is None:
                os.killpg(process.pid, sign)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and any(process.poll() is None for process in processes):
            time.sleep(0.05)


def run_local(jobs: Jobs, args: argparse.Namespace) -> int:
    """Run all jobs as child processes; returns the exit status of the first that fails, else 0."""
    if args.num_nodes > 1:
        print(f"error: --num_nodes {args.num_nodes} needs cmd_backend=slurm, not local", file=sys.stderr)
        return 2
    at_once = min(len(jobs.numbers), args.max_jobs or len(jobs.numbers))
    gpus = visible_gpus() if args.gpu and at_once > 1 else []
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads_per_job(at_once, args.num_threads, args.gpu)))
    waiting = list(enumerate(jobs.numbers))
    running: dict[subprocess.Popen, tuple[str, float]] = {}
    latest = time.monotonic()  # when a job last ended

    def start(position: int, number: int) -> None:
        log, command = jobs.at(number)
        own = dict(environment)
        if gpus:
            own["CUDA_VISIBLE_DEVICES"] = ",".join(gpus[(position * args.gpu + i) % len(gpus)] for i in range(args.gpu))
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        with open(log, "w", encoding="utf-8") as out:
            out.write(f"# {shlex.join(command)}\n# started {datetime.now():%Y-%m-%dT%H:%M:%S}\n")
            out.flush()
            try:
                process = subprocess.Popen(command, stdout=out, stderr=out, env=own, start_new_session=True)
            except OSError as error:
                out.write(f"cannot start {command[0]}: {error.strerror}\n")
                process = subprocess.Popen(["false"], start_new_session=True)
        running[process] = (log, time.monotonic())

    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                start(*waiting.pop(0))
            # A job of hours is looked at once a second, one of moments at once.
            time.sleep(min(1.0, 0.05 + 0.02 * (time.monotonic() - latest)))
            for process in [p for p in running if p.poll() is not None]:
                latest = time.monotonic()
                log, began = running.pop(process)
                with open(log, "a", encoding="utf-8") as out:
                    out.write(f"# ended with status {process.returncode} after {time.monotonic() - began:.0f} s\n")
                if process.returncode != 0:
                    print(f"{tail(log)}\nerror: a job failed with status {process.returncode}", file=sys.stderr)
                    return process.returncode if process.returncode > 0 else 128 - process.returncode
        return 0
    finally:
        end_all(list(running))


def sbatch_script(jobs: Jobs, args: argparse.Namespace, status_dir: Path) -> str:
    """The text of the batch script: one array task a job, each leaving its exit status as a file."""
    log, _ = jobs.at("%a")
    number = "${SLURM_ARRAY_TASK_ID}" if jobs.name else "1"
    # A job with GPUs has a process for each, and workers that read its data.
    share = args.cpus_per_gpu if args.gpu else None
    threads = share or args.num_threads or 1
    cpus = max(args.num_threads or 1, (share or 0) * args.gpu)
    directives = [f"--job-name={Path(jobs.log).stem}", f"--output={Path(log).absolute()}", f"--cpus-per-task={cpus}"]
    if jobs.name:
        limit = f"%{args.max_jobs}" if args.max_jobs else ""
        directives.append(f"--array={jobs.numbers[0]}-{jobs.numbers[-1]}{limit}")
    directives += [f"--nodes={args.num_nodes}", "--ntasks-per-node=1"] if args.num_nodes > 1 else []
    directives += [f"--gres=gpu:{args.gpu}"] if args.gpu else []
    directives += [f"--mem={args.mem}"] if args.mem else []
    directives += [f"--time={args.time}"] if args.time else []

    def word(argument: str) -> str:
        """Only the placeholder may expand: everything else is quoted."""
        pieces = argument.split(jobs.name) if jobs.name else [argument]
        return f'"{number}"'.join(shlex.quote(piece) if piece else "" for piece in pieces) or "''"

    return "\n".join(
        [
            "#!/usr/bin/env bash",
            *(f"#SBATCH {directive}" for directive in directives),
            f"cd {shlex.quote(os.getcwd())}",
            f"export OMP_NUM_THREADS={threads}",
            f"export SRUN_CPUS_PER_TASK={cpus}",  # since slurm 22.05 srun does not ask its batch job
            " ".join(word(argument) for argument in jobs.command),
            "status=$?",
            f"echo ${{status}} >{shlex.quote(str(status_dir.absolute()))}/{number}",
            "exit ${status}",
            "",
        ]
    )


def run_slurm(jobs: Jobs, args: argparse.Namespace) -> int:
    """Submit one (array) job and wait for it; returns 0 only if every task ended with status 0."""
    if shutil.which("sbatch") is None:
        print("error: cmd_backend=slurm, but there is no sbatch on this machine", file=sys.stderr)
        return 2
    base = Path(jobs.log)
    status_dir = base.parent / "q" / base.stem
    shutil.rmtree(status_dir, ignore_errors=True)
    status_dir.mkdir(parents=True)
    script = status_dir.with_suffix(".sbatch.sh")
    script.write_text(sbatch_script(jobs, args, status_dir), encoding="utf-8")
    process = subprocess.Popen(["sbatch", "--wait", str(script)], stdout=subprocess.PIPE, text=True)
    job_id = None
    try:
        for line in process.stdout:
            print(line, end="", flush=True)
            if match := re.search(r"Submitted batch job (\d+)", line):
                job_id = match[1]
        code = process.wait()
    except BaseException:
        if job_id is not None and shutil.which("scancel"):
            subprocess.run(["scancel", job_id], check=False)
        raise
    statuses = {n: (status_dir / str(n)).read_text().strip() for n in jobs.numbers if (status_dir / str(n)).is_file()}
    for number in jobs.numbers:
        if code == 0 or statuses.get(number) == "0":
            continue
        why = f"status {statuses[number]}" if number in statuses else "no status (time limit, memory, or cancelled?)"
        print(f"{tail(jobs.at(number)[0])}\nerror: slurm job {job_id}, task {number}: {why}", file=sys.stderr)
        return code
    return code


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=("local", "slurm"), required=True)
    parser.add_argument("--max_jobs", type=int, help="how many jobs at once (default: all)")
    parser.add_argument(
        "--num_threads", type=int, help="CPU threads of a job's process (local default: an equal share)"
    )
    parser.add_argument("--gpu", type=int, default=0, help="GPUs of a job")
    parser.add_argument("--cpus_per_gpu", type=int, help="slurm: CPU cores for each GPU of a job")
    parser.add_argument("--num_nodes", type=int, default=1, help="slurm: machines of a job")
    parser.add_argument("--mem", help="slurm: memory of a job, as 16G")
    parser.add_argument("--time", help="slurm: time limit, as 1-00:00:00")
    parser.add_argument("jobs", nargs=argparse.REMAINDER, metavar="[JOB=FIRST:LAST] LOG COMMAND ...")
    args = parser.parse_args(argv)
    try:
        jobs = parse_jobs(args.jobs)
    except ValueError as error:
        parser.error(str(error))
    # A terminated launcher must end its jobs: turn the signal into an exception that runs the clean-up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return run_local(jobs, args) if args.backend == "local" else run_slurm(jobs, args)


if __name__ == "__main__":
    sys.exit(main())
