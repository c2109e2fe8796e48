"""Vocoders by name. Each is imported when it is asked for."""

from importlib import import_module

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.mel.config import MelConfig
from sitok_espnet.vocoder.abs_vocoder import AbsVocoder

CHOICES = {"griffin_lim": "sitok_espnet.vocoder.griffin_lim:GriffinLim"}


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
