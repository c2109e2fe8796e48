"""Vocoders by name. Each is imported when it is asked for."""

from importlib import import_module
from pathlib import Path

from sitok_espnet.errors import SiTokError
from sitok_espnet.pretrained import trained_vocoder
from sitok_espnet.sitok.mel.config import MelConfig
from sitok_espnet.vocoder.abs_vocoder import AbsVocoder

CHOICES = {
    "griffin_lim": "sitok_espnet.vocoder.griffin_lim:GriffinLim",
    "vocos": "sitok_espnet.vocoder.vocos:Vocos",
}


def choose_vocoder(directory: Path | str, name: str | None, conf: dict | None) -> tuple[str, dict]:
    """Name and options of the vocoder for the tokenizer in `directory`.

    Without a name it is the trained one that comes with the tokenizer (`trained_vocoder`), else griffin_lim. That one
    is also the default `path` of vocos.
    """
    there = trained_vocoder(directory)
    name = name or ("vocos" if there else "griffin_lim")
    conf = dict(conf or {})
    if name == "vocos" and there:
        conf.setdefault("path", str(there))
    return name, conf


def build_vocoder(name: str, conf: dict | None, config: MelConfig) -> AbsVocoder:
    """The vocoder `name` for the mel `config`, in evaluation mode on the CPU.

    Raises:
        SiTokError: unknown name, unknown option, or a vocoder made for another mel.
    """
    if name not in CHOICES:
        raise SiTokError(f"unknown vocoder {name!r}: choose one of {', '.join(sorted(CHOICES))}")
    module, cls = CHOICES[name].split(":")
    try:
        vocoder = getattr(import_module(module), cls)(config=config, **(conf or {}))
    except TypeError as error:
        raise SiTokError(f"vocoder {name}: bad vocoder_conf {conf}: {error}") from error
    if vocoder.config.hash() != config.hash():
        raise SiTokError(
            f"vocoder {name} was made for another mel (hash {vocoder.config.hash()}) than the model "
            f"({config.hash()}): use the vocoder that belongs to the model"
        )
    return vocoder.eval()
