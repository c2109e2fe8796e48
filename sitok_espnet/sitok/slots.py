"""The registry of swappable components, and the model built from a configuration.

A new component is one file beside its kind, one line in ``SLOTS``, one YAML. Training (tasks/), inference and
``sitok params`` all read this table; it imports no trainer, so that inference starts quickly.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from espnet2.layers.abs_normalize import AbsNormalize
from torch import nn

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.ctc.abs_ctc import AbsCTC
from sitok_espnet.sitok.ctc.llama import LlamaCTC
from sitok_espnet.sitok.decoder.abs_decoder import AbsDecoder
from sitok_espnet.sitok.decoder.flow_matching import FlowMatchingDecoder
from sitok_espnet.sitok.decoder.flow_matching_coarse import CoarseStartDecoder
from sitok_espnet.sitok.decoder.flow_matching_light import LightFlowMatchingDecoder
from sitok_espnet.sitok.decoder.regression import RegressionDecoder
from sitok_espnet.sitok.encoder.abs_encoder import AbsEncoder
from sitok_espnet.sitok.encoder.llama import LlamaEncoder
from sitok_espnet.sitok.espnet_model import SiTokModel
from sitok_espnet.sitok.mel.abs_feats_extract import AbsFeatsExtract
from sitok_espnet.sitok.mel.log_mel import LogMel
from sitok_espnet.sitok.normalize import GlobalMVN
from sitok_espnet.sitok.quantizer.abs_quantizer import AbsQuantizer
from sitok_espnet.sitok.quantizer.bsq import BinarySphericalQuantizer
from sitok_espnet.sitok.quantizer.ema_vq import EMAVectorQuantizer
from sitok_espnet.sitok.quantizer.fsq import FiniteScalarQuantizer
from sitok_espnet.sitok.quantizer.identity import IdentityQuantizer
from sitok_espnet.sitok.quantizer.residual_vq import ResidualVectorQuantizer


@dataclass(frozen=True)
class Slot:
    """contract: abstract base. choices: name -> class. default: name. given: arguments the model itself passes."""

    contract: type
    choices: dict[str, type]
    default: str | None
    given: tuple[str, ...] = ()
    optional: bool = False


SLOTS: dict[str, Slot] = {
    "feats_extract": Slot(AbsFeatsExtract, {"log_mel": LogMel}, "log_mel"),
    "normalize": Slot(AbsNormalize, {"global_mvn": GlobalMVN}, None, optional=True),
    "encoder": Slot(AbsEncoder, {"llama": LlamaEncoder}, "llama", ("input_size",)),
    "quantizer": Slot(
        AbsQuantizer,
        {
            "ema_vq": EMAVectorQuantizer,
            "residual_vq": ResidualVectorQuantizer,
            "fsq": FiniteScalarQuantizer,
            "bsq": BinarySphericalQuantizer,
            "identity": IdentityQuantizer,
        },
        "ema_vq",
        ("input_size",),
    ),
    "ctc": Slot(AbsCTC, {"llama": LlamaCTC}, "llama", ("input_size", "num_codebooks", "codebook_dim"), optional=True),
    "decoder": Slot(
        AbsDecoder,
        {
            "flow_matching": FlowMatchingDecoder,
            "flow_matching_light": LightFlowMatchingDecoder,
            "flow_matching_coarse": CoarseStartDecoder,
            "regression": RegressionDecoder,
        },
        "flow_matching",
        ("mel_size", "condition_size"),
    ),
}


def class_defaults(slots: Mapping[str, Slot]) -> dict[str, str | None]:
    """NAME of what has a NAME_conf, in a registry and in ESPnet's trainer -> the class where a YAML names none."""
    return {name: slot.default for name, slot in slots.items()} | {"optim": "adadelta", "scheduler": None}


CLASS_DEFAULTS = class_defaults(SLOTS)
MODEL_KEYS = ("stacking_factor", "lambda_ctc")
DEFAULT_VOCABULARY = 4000  # text pieces; the paper's totals fit a few thousand


def legal_keys(slot: str, name: str, slots: Mapping[str, Slot] = SLOTS) -> list[str]:
    """Configuration keys of one choice of a slot."""
    parameters = inspect.signature(slots[slot].choices[name].__init__).parameters
    return [p for p in parameters if p != "self" and p not in slots[slot].given]


def build_slot(
    slot: str, config: Mapping[str, Any], slots: Mapping[str, Slot] = SLOTS, **given: Any
) -> nn.Module | None:
    """One component as the configuration describes it, None where it is switched off; ``given`` are its sizes.

    ``slots`` is the registry: the tokenizer's, or that of the probes (sitok_espnet/probes/slots.py).
    """
    name = config.get(slot, slots[slot].default)
    if name is None:
        if not slots[slot].optional:
            raise SiTokError(f"{slot} may not be null: choose one of {', '.join(slots[slot].choices)}")
        return None
    if name not in slots[slot].choices:
        raise SiTokError(f"{slot}: unknown choice {name!r}; there are {', '.join(slots[slot].choices)}")
    conf = dict(config.get(f"{slot}_conf") or {})
    legal = legal_keys(slot, name, slots)
    unknown = sorted(set(conf) - set(legal))
    if unknown:
        raise SiTokError(
            f"{slot}_conf of {slot} {name!r} has unknown keys: {', '.join(unknown)}; legal keys are {', '.join(legal)}"
        )
    return slots[slot].choices[name](**{**given, **conf})


def _vocab_size(config: Mapping[str, Any]) -> int:
    """Size of the CTC vocabulary from ``ctc_conf: vocab_size`` or the token list; both must agree."""
    stated = (config.get("ctc_conf") or {}).get("vocab_size")
    tokens = config.get("token_list")
    if tokens is not None and stated is not None and len(tokens) != stated:
        raise SiTokError(
            f"ctc_conf vocab_size is {stated}, but the token list has {len(tokens)} pieces: leave vocab_size out, or "
            "use the token list it was made for"
        )
    if tokens is None and stated is None:
        raise SiTokError(
            "the CTC branch needs --token_list (stage 3 makes it) or ctc_conf vocab_size; or set ctc: null"
        )
    return stated if tokens is None else len(tokens)


def build_model(config: Mapping[str, Any]) -> SiTokModel:
    """Build the model that a configuration (a training YAML, or an experiment's config.yaml) describes.

    ``token_list`` is a list of pieces here. Raises SiTokError naming the slot and its legal keys.
    """
    model_conf = dict(config.get("model_conf") or {})
    unknown = sorted(set(model_conf) - set(MODEL_KEYS))
    if unknown:
        raise SiTokError(f"model_conf has unknown keys: {', '.join(unknown)}; legal keys are {', '.join(MODEL_KEYS)}")
    stacking_factor = model_conf.get("stacking_factor", 4)
    if not isinstance(stacking_factor, int) or stacking_factor < 1:
        raise SiTokError(f"model_conf stacking_factor must be a whole number of at least 1, got {stacking_factor!r}")

    feats_extract = build_slot("feats_extract", config)
    mel_size = feats_extract.output_size() * stacking_factor
    normalize = build_slot("normalize", config)
    encoder = build_slot("encoder", config, input_size=mel_size)
    width = encoder.output_size()
    quantizer = build_slot("quantizer", config, input_size=width)
    ctc = None
    if config.get("ctc", SLOTS["ctc"].default) is not None:
        ctc = build_slot(
            "ctc",
            _with_vocab(config),
            input_size=width,
            num_codebooks=quantizer.num_codebooks,
            codebook_dim=quantizer.codebook_dim,
        )
    decoder = build_slot("decoder", config, mel_size=mel_size, condition_size=width)
    return SiTokModel(
        feats_extract,
        normalize,
        encoder,
        quantizer,
        ctc,
        decoder,
        token_list=list(config["token_list"]) if config.get("token_list") else None,
        **model_conf,
    )


def _with_vocab(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with ``ctc_conf: vocab_size`` filled in."""
    return {**config, "ctc_conf": {**(config.get("ctc_conf") or {}), "vocab_size": _vocab_size(config)}}


def assumes_vocabulary(config: Mapping[str, Any]) -> bool:
    """Whether a configuration with a CTC branch leaves its vocabulary to the token list of the recipe."""
    if config.get("ctc", SLOTS["ctc"].default) is None or isinstance(config.get("token_list"), list):
        return False
    return (config.get("ctc_conf") or {}).get("vocab_size") is None


def count_parameters(config: Mapping[str, Any]) -> dict[str, int]:
    """Trainable parameters of every slot and "total", counted on the meta device.

    EMA codebooks are buffers and do not count. Normalisation has no parameters and is left out, because its
    statistics file need not exist yet. A training configuration without a stated CTC vocabulary counts 4,000 pieces.
    """
    config = {**config, "normalize": None}
    if assumes_vocabulary(config):
        config["token_list"] = None
        config["ctc_conf"] = {"vocab_size": DEFAULT_VOCABULARY, **(config.get("ctc_conf") or {})}
    with torch.device("meta"):
        model = build_model(config)
    counts = {slot: sum(p.numel() for p in part.parameters()) for slot, part in model.named_children()}
    return {**counts, "total": sum(counts.values())}
