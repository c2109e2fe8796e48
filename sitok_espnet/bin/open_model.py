"""From the options that all verbs with a model share to a SiTok."""

import argparse
from pathlib import Path

import yaml

from sitok_espnet.errors import SiTokError
from sitok_espnet.inference import DTYPES, SiTok


def open_model(args: argparse.Namespace) -> SiTok:
    """Options: model, checkpoint, device, dtype and, where the verb has them, vocoder and vocoder_conf."""
    vocoder = {}
    if hasattr(args, "vocoder"):
        vocoder = {"vocoder": args.vocoder, "vocoder_conf": parse_conf(args.vocoder_conf)}
    return SiTok.from_pretrained(args.model, args.checkpoint, args.device, DTYPES[args.dtype], **vocoder)


def split_checkpoint(model: str) -> tuple[str, str | None]:
    """A model's folder, or a checkpoint in it (``exp/sitok_x/30epoch.pth``) -> folder, file name or None."""
    path = Path(model)
    return (str(path.parent), path.name) if path.suffix == ".pth" else (model, None)


def parse_conf(pairs: list[str]) -> dict:
    """KEY=VALUE words to a dictionary, values as in YAML."""
    conf = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise SiTokError(f"--vocoder_conf: expected KEY=VALUE, got {pair!r}")
        try:
            conf[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise SiTokError(f"--vocoder_conf: cannot read the value of {pair!r}") from error
    return conf
