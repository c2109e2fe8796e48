"""A Python that has already imported torch and ESPnet, and copies of it in the place of new interpreters.

A recipe starts dozens of Python processes, and most of their time goes into the same imports. Tests of recipes give
`warm_python(...)` as --python: each call becomes a fork of one process that has done the imports. The command is as
real as before: arguments, environment, folder, files and exit status are the caller's, and this repository's own
modules are imported anew, from the path that the recipe sets.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from pathlib import Path

# What takes long to import. Nothing of this repository is here.
IMPORTED = (
    "espnet2.bin.aggregate_stats_dirs",
    "espnet2.bin.launch",
    "espnet2.tasks.abs_task",
    "espnet2.text.phoneme_tokenizer",
    "espnet2.train.gan_trainer",
    "espnet2.train.preprocessor",
    "matplotlib.figure",
    "scipy.signal",
    "transformers.models.llama.modeling_llama",
)


@contextlib.contextmanager
def warm_python():
    """The words of a command that stands for `python`, while the context lasts."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
        address = f"{folder}/calls"  # pytest's own folders may be too deep for the name of a socket
        listener.bind(address)
        listener.listen()
        server = subprocess.Popen(
            [sys.executable, __file__, "serve", str(listener.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,  # what ESPnet says when it is imported
            pass_fds=[listener.fileno()],
            env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        )
        listener.close()  # if the server ends, so does whoever calls it
        try:
            yield f"{sys.executable} -IS {__file__} call {address}"
        finally:
            server.stdin.close()  # its end is what the server waits for
            server.wait()


def call(address: str, words: list[str]) -> int:
    """Have `python WORDS` run by a copy; its exit status."""
    request = {"words": words, "folder": os.getcwd(), "environment": dict(os.environ)}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        socket.send_fds(connection, [b"x"], [0, 1, 2])
        connection.sendall(json.dumps(request).encode() + b"\n")
        status = connection.recv(1)
    return status[0] if status else 255


def serve(listener: socket.socket) -> None:
    """Answer calls until standard input ends."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.freeze()  # the copies share what is never touched
    while True:
        ready = select.select([listener, sys.stdin], [], [], 1.0)[0]
        if sys.stdin in ready:
            return
        if listener in ready:
            connection = listener.accept()[0]
            if os.fork() == 0:
                listener.close()
                answer(connection)
            connection.close()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def answer(connection: socket.socket) -> None:
    """Run one call in a fork and send its exit status; a caller that is gone ends the fork."""
    files = socket.recv_fds(connection, 1, 3)[1]
    with connection.makefile("rb") as lines:
        request = json.loads(lines.readline())
    worker = os.fork()
    if worker == 0:
        connection.close()
        run(request, files)
    for file in files:
        os.close(file)
    while not (done := os.waitpid(worker, os.WNOHANG))[0]:
        if select.select([connection], [], [], 0.01)[0]:
            os.kill(worker, signal.SIGTERM)
            done = os.waitpid(worker, 0)
            break
    status = os.waitstatus_to_exitcode(done[1])
    with contextlib.suppress(OSError):
        connection.sendall(bytes([status if status >= 0 else 128 - status]))
    os._exit(0)


def run(request: dict, files: list[int]) -> None:
    """What `python WORDS` does; ends the process."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    words = request["words"]
    sys.orig_argv = [sys.executable, *words]
    module = words[0] == "-m"
    sys.argv = words[1:] if module else words
    first = os.getcwd() if module else str(Path(words[0]).resolve().parent)
    own = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:] = [first, *own, *sys.path[1:]]  # the first is the folder of this file
    status = 1
    try:
        if module:
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(words[0], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # an interpreter's last steps, without taking apart thousands of modules (2 CPU seconds)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status & 255)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(socket.socket(fileno=int(sys.argv[2])))
    else:
        sys.exit(call(sys.argv[2], sys.argv[3:]))
