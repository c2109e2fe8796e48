"""Rows of the score table beside the standard ones: a system made with an earlier model or another vocoder (ours)."""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.systems import SYSTEMS, Workshop
from sitok_espnet.inference import SiTok
from sitok_espnet.vocoder.choices import build_vocoder

GRIFFIN_LIM = "griffin_lim"


@dataclass(frozen=True)
class Variant:
    """A row ``<system>_<name>``.

    Attributes:
        system: which of SYSTEMS is made.
        name: what is different, in the row's key and title.
        open: opens the tokenizer that makes it.
        vocoder, vocoder_conf: that tokenizer's.
    """

    system: str
    name: str
    open: Callable[[], SiTok]
    vocoder: str
    vocoder_conf: dict

    @property
    def key(self) -> str:
        """The row, its folder in the evaluation directory."""
        return f"{self.system}_{self.name}"

    def workshop(self, shop: Workshop) -> Workshop:
        """The same inputs and options with this variant's tokenizer.

        Raises:
            SiTokError: its tokens are not those of the shop's tokenizer.
        """
        tokenizer = self.open()
        if tokenizer.codes_hash != shop.tokenizer.codes_hash:
            raise SiTokError(
                f"{tokenizer.directory} ({self.name}) has other tokens (codes_hash {tokenizer.codes_hash}) than "
                f"{shop.tokenizer.directory} ({shop.tokenizer.codes_hash}): it was trained after the refinement, or is "
                "another model; refine it again (stage 6), or score them one by one"
            )
        return replace(shop, tokenizer=tokenizer, timings={}, _codes={})


def earlier_model(pair: str, open_model: Callable[[str], SiTok], vocoder: str, vocoder_conf: dict) -> Variant:
    """The reconstruction by what the model was refined from.

    Args:
        pair: ``NAME=MODEL``, as ``unrefined=exp/sitok_mini``.
        open_model: opens MODEL with the vocoder.
        vocoder, vocoder_conf: that all models are scored with.

    Raises:
        SiTokError: no such pair, or a name that cannot be a row's.
    """
    name, equals, model = pair.partition("=")
    if not equals or not model or not name.replace("-", "_").replace(".", "_").isidentifier():
        raise SiTokError(f"--earlier {pair}: expected NAME=MODEL with a name of letters, digits and _")
    variant = Variant("reconstruction", name, lambda: open_model(model), vocoder, vocoder_conf)
    if variant.key in SYSTEMS:
        raise SiTokError(f"--earlier {pair}: {variant.key} is a row already: choose another name")
    return variant


def griffin_lim_rows(tokenizer: SiTok) -> list[Variant]:
    """Copy synthesis and reconstruction by Griffin-Lim, for a tokenizer with a trained vocoder."""

    def other_vocoder() -> SiTok:
        same = copy.copy(tokenizer)
        same.vocoder = build_vocoder(GRIFFIN_LIM, {}, tokenizer.mel_config).to(tokenizer.device)
        return same

    return [
        Variant(system, GRIFFIN_LIM, other_vocoder, GRIFFIN_LIM, {}) for system in ("copy_synthesis", "reconstruction")
    ]


def row_order(keys: Iterable[str]) -> list[str]:
    """All systems, each followed by its variants of ``keys``."""
    keys = [key for key in keys if key not in SYSTEMS]
    return [row for system in SYSTEMS for row in (system, *(key for key in keys if base_system(key) == system))]


def base_system(key: str) -> str:
    """The system of a row: ``reconstruction_unrefined`` -> ``reconstruction``; the key itself if it is of none."""
    return max((system for system in SYSTEMS if f"{key}_".startswith(f"{system}_")), key=len, default=key)


def compared_rows(keys: Sequence[str]) -> list[tuple[str, str]]:
    """(system, its variant), for the table of comparisons."""
    return [(base_system(key), key) for key in keys if key not in SYSTEMS and base_system(key) != key]
