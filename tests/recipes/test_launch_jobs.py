"""The job launcher: placeholders, threads, failure, and slurm through a stand-in for sbatch."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import launch_jobs
import pytest

LAUNCHER = Path(launch_jobs.__file__)


def launch(*words, env=None, cwd=None) -> subprocess.CompletedProcess:
    command = [sys.executable, str(LAUNCHER), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(env or {})}, cwd=cwd)


def test_placeholder_in_log_and_arguments(tmp_path):
    done = launch(
        "--backend", "local", "JOB=3:5", tmp_path / "x.JOB.log", "sh", "-c", "echo out JOB > $0", f"{tmp_path}/JOB"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert {p.name: p.read_text() for p in tmp_path.iterdir() if p.suffix != ".log"} == {
        str(n): f"out {n}\n" for n in (3, 4, 5)
    }
    assert sorted(p.name for p in tmp_path.glob("*.log")) == ["x.3.log", "x.4.log", "x.5.log"]


def test_arguments_reach_the_command_unchanged(tmp_path):
    words = ["two words", "$HOME", "", "a'b\"c", "*"]
    script = "import json, sys; json.dump(sys.argv[1:], sys.stdout)"
    assert launch("--backend", "local", tmp_path / "log", sys.executable, "-c", script, *words).returncode == 0
    assert '["two words", "$HOME", "", "a\'b\\"c", "*"]' in (tmp_path / "log").read_text()


def test_jobs_run_at_the_same_time(tmp_path):
    # Each job waits for the other's file: one after the other they would fail.
    wait = "cd $0; touch JOB; for i in $(seq 200); do [ -e 1 ] && [ -e 2 ] && exit 0; sleep .05; done; exit 1"
    assert launch("--backend", "local", "JOB=1:2", tmp_path / "JOB.log", "sh", "-c", wait, tmp_path).returncode == 0


def test_max_jobs_limits_how_many(tmp_path):
    alone = f"mkdir {tmp_path}/lock && sleep .2 && rmdir {tmp_path}/lock"
    done = launch("--backend", "local", "--max_jobs", "1", "JOB=1:3", tmp_path / "JOB.log", "sh", "-c", alone)
    assert done.returncode == 0, done.stderr


def test_failing_job_ends_the_rest_and_shows_its_log(tmp_path):
    script = f"if [ JOB = 2 ]; then echo the reason; exit 7; fi; sleep 100; touch {tmp_path}/not-ended.JOB"
    began = time.monotonic()
    done = launch("--backend", "local", "JOB=1:3", tmp_path / "x.JOB.log", "sh", "-c", script)
    assert done.returncode == 7
    assert "the reason" in done.stderr and "x.2.log" in done.stderr
    assert time.monotonic() - began < 60
    assert not list(tmp_path.glob("not-ended*"))


def test_unknown_program_is_a_failed_job(tmp_path):
    done = launch("--backend", "local", tmp_path / "log", "no-such-program")
    assert done.returncode != 0
    assert "cannot start no-such-program" in done.stderr


def test_terminated_launcher_ends_its_jobs(tmp_path):
    script = f"echo $$ > {tmp_path}/pid; exec sleep 100"
    words = ["--backend", "local", str(tmp_path / "log"), "sh", "-c", script]
    process = subprocess.Popen([sys.executable, str(LAUNCHER), *words])
    pid_file = tmp_path / "pid"
    for _ in range(400):
        if pid_file.is_file() and pid_file.read_text().strip():
            break
        time.sleep(0.05)
    pid = int(pid_file.read_text())
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 143
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    "parallel, asked, gpus, preset, expected",
    [
        (1, None, 0, None, 8),
        (2, None, 0, None, 4),
        (3, None, 0, None, 2),
        (100, None, 0, None, 1),
        (4, 6, 0, None, 6),
        (1, None, 0, "2", 2),
        # One process a GPU.
        (1, None, 1, None, 8),
        (1, None, 4, None, 2),
        (2, None, 2, None, 2),
        (1, 6, 4, None, 6),
    ],
)
def test_threads_are_shared_among_processes(monkeypatch, parallel, asked, gpus, preset, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if preset:
        monkeypatch.setenv("OMP_NUM_THREADS", preset)
    assert launch_jobs.threads_per_job(parallel, asked, gpus) == expected


def test_a_job_with_several_gpus_gets_its_share(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    words = ["--backend", "local", "--gpu", "4", str(tmp_path / "log"), "sh", "-c", "echo threads $OMP_NUM_THREADS"]
    assert launch_jobs.main(words) == 0
    assert "threads 2\n" in (tmp_path / "log").read_text()


def test_gpus_are_dealt_out_in_turn(tmp_path):
    script = f"echo $CUDA_VISIBLE_DEVICES > {tmp_path}/gpu.JOB"
    words = ("--backend", "local", "--gpu", 1, "JOB=1:3", tmp_path / "JOB.log", "sh", "-c", script)
    assert launch(*words, env={"CUDA_VISIBLE_DEVICES": "4,6"}).returncode == 0
    assert [(tmp_path / f"gpu.{n}").read_text().strip() for n in (1, 2, 3)] == ["4", "6", "4"]


@pytest.mark.parametrize(
    "words, message",
    [
        (["log"], "a log file and a command"),
        (["JOB=4:1", "log.JOB", "true"], "empty range"),
        (["JOB=1:2", "log", "true"], "must have JOB in its name"),
    ],
)
def test_bad_command_lines(words, message):
    done = launch("--backend", "local", *words)
    assert done.returncode == 2
    assert message in done.stderr


def test_local_backend_has_one_machine(tmp_path):
    done = launch("--backend", "local", "--num_nodes", "2", tmp_path / "log", "true")
    assert done.returncode == 2
    assert "cmd_backend=slurm" in done.stderr


# A stand-in for sbatch: runs the array tasks one by one as slurm would, and keeps the script.
SBATCH = """#!/usr/bin/env bash
[ "$1" = --wait ] || exit 9
cp "$2" script
echo "Submitted batch job 42"
range=$(sed -n 's/^#SBATCH --array=\\([0-9-]*\\).*/\\1/p' "$2"); worst=0
output=$(sed -n 's/^#SBATCH --output=//p' "$2")
for n in $(seq ${range%-*} ${range#*-}); do
    SLURM_ARRAY_TASK_ID=$n bash "$2" >"${output//%a/$n}" 2>&1 || worst=$?
done
exit $worst
"""


@pytest.fixture
def slurm(tmp_path):
    """Call the launcher with the stand-in on PATH, in tmp_path."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sbatch").write_text(SBATCH)
    (tmp_path / "bin/sbatch").chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    return lambda *words: launch("--backend", "slurm", *words, env={"PATH": path}, cwd=tmp_path)


def test_slurm_array(slurm, tmp_path):
    options = ["--mem", "4G", "--time", "1:00:00", "--gpu", 2, "--num_threads", 3, "--max_jobs", 5]
    words = ["sh", "-c", "echo $0 $1 threads $OMP_NUM_THREADS", "job-JOB", "$HOME it's"]
    done = slurm(*options, "JOB=2:3", "logs/x.JOB.log", *words)
    assert done.returncode == 0, done.stderr
    for number in (2, 3):
        assert (tmp_path / f"logs/x.{number}.log").read_text() == f"job-{number} $HOME it's threads 3\n"
    directives = {
        line.split(maxsplit=1)[1] for line in (tmp_path / "script").read_text().splitlines() if "#SBATCH" in line
    }
    assert {"--array=2-3%5", "--mem=4G", "--time=1:00:00", "--gres=gpu:2", "--cpus-per-task=3"} <= directives


def test_slurm_failure_shows_the_log_of_the_failed_task(slurm):
    script = "echo this is task JOB; [ JOB != 2 ]"
    done = slurm("JOB=1:3", "logs/x.JOB.log", "sh", "-c", script)
    assert done.returncode != 0
    assert "slurm job 42, task 2: status 1" in done.stderr
    assert "this is task 2" in done.stderr and "this is task 1" not in done.stderr


def test_slurm_task_without_a_status_is_a_failure(slurm, tmp_path):
    # As after a time limit: the task is gone before it can leave its status.
    (tmp_path / "bin/sbatch").write_text("#!/bin/sh\necho Submitted batch job 7\nexit 1\n")
    done = slurm("JOB=1:2", "logs/x.JOB.log", "true")
    assert done.returncode == 1
    assert "task 1: no status" in done.stderr


def test_slurm_several_nodes(slurm, tmp_path):
    (tmp_path / "bin/sbatch").write_text('#!/bin/sh\ncp "$2" script\necho Submitted batch job 7\n')
    assert slurm("--num_nodes", 3, "--gpu", 8, "logs/train.log", "srun", "true").returncode == 0
    script = (tmp_path / "script").read_text()
    assert "#SBATCH --nodes=3\n" in script and "#SBATCH --ntasks-per-node=1\n" in script and "--array" not in script


def test_slurm_cores_of_a_job_with_gpus(slurm, tmp_path):
    (tmp_path / "bin/sbatch").write_text('#!/bin/sh\ncp "$2" script\necho Submitted batch job 7\n')
    # As espnet2.bin.launch calls it: with --num_threads for several nodes, without it for one.
    for words in (["--gpu", 8, "--num_threads", 8, "--num_nodes", 2], ["--gpu", 8]):
        assert slurm("--cpus_per_gpu", 6, *words, "logs/train.log", "true").returncode == 0
        script = (tmp_path / "script").read_text()
        assert "#SBATCH --cpus-per-task=48\n" in script and "export SRUN_CPUS_PER_TASK=48\n" in script
        assert "export OMP_NUM_THREADS=6\n" in script
    assert slurm("--cpus_per_gpu", 6, "--num_threads", 2, "logs/train.log", "true").returncode == 0
    script = (tmp_path / "script").read_text()
    assert "#SBATCH --cpus-per-task=2\n" in script and "export OMP_NUM_THREADS=2\n" in script


def test_slurm_without_sbatch(tmp_path):
    done = launch("--backend", "slurm", tmp_path / "log", "true", env={"PATH": str(tmp_path)})
    assert done.returncode == 2
    assert "no sbatch" in done.stderr


def test_espnet_recognises_our_slurm_launcher_by_its_name():
    # espnet2.bin.launch compares this very name to choose srun for several nodes.
    link = LAUNCHER.with_name("slurm.pl")
    assert link.resolve() == LAUNCHER.resolve()
    assert os.access(link, os.X_OK)
