"""Shared fixtures; `speech_generator` and the other helpers here are importable from every test."""

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def _known_environment(monkeypatch):
    """A developer's own SITOK_MODEL or SITOK_WHISPER must not change a test."""
    monkeypatch.delenv("SITOK_MODEL", raising=False)
    monkeypatch.delenv("SITOK_WHISPER", raising=False)


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory) -> Path:
    """Experiment directory of the tiny model; do not write into it."""
    from experiment_dir import make_model_dir

    return make_model_dir(tmp_path_factory.mktemp("tiny") / "exp")


@pytest.fixture(scope="session")
def tiny_tokenizer(tiny_model_dir):
    """SiTok on the tiny model, with a short Griffin-Lim."""
    from sitok_espnet.inference import SiTok

    return SiTok.from_pretrained(tiny_model_dir, vocoder_conf={"iterations": 4})


@pytest.fixture(scope="session")
def python():
    """Words of a command that stands for `python` where a test starts many processes."""
    from warm_python import warm_python

    with warm_python() as words:
        yield words
