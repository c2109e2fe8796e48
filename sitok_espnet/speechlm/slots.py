"""The registry of the language model's parts, and the model built from a configuration."""

import inspect
from collections.abc import Mapping
from typing import Any

from sitok_espnet.errors import SiTokError
from sitok_espnet.speechlm.espnet_model import SpeechLMModel
from sitok_espnet.speechlm.lm.abs_lm import AbsLM
from sitok_espnet.speechlm.lm.transformers_lm import ConfiguredLM, PretrainedLM
from sitok_espnet.speechlm.pattern.choices import build_pattern
from sitok_espnet.speechlm.vocabulary import JointVocabulary

LMS: dict[str, type[AbsLM]] = {"configured": ConfiguredLM, "pretrained": PretrainedLM}
DEFAULT_LM = "configured"
MODEL_KEYS = ("text_drop", "pack_length", "code_drop", "first_codebook_weight")


def build_speech_lm(config: Mapping[str, Any]) -> SpeechLMModel:
    """Build the model that a configuration describes.

    Args:
        config: ``vocabulary`` (the content of the joint vocabulary's file), ``pattern``, ``lm``, ``lm_conf``,
            ``model_conf``.

    Raises:
        SiTokError: names the option.
    """
    if not config.get("vocabulary"):
        raise SiTokError("no joint vocabulary: give --vocabulary FILE (stage 3 makes it)")
    vocabulary = JointVocabulary.from_mapping(config["vocabulary"], "vocabulary")
    name = config.get("lm") or DEFAULT_LM
    if name not in LMS:
        raise SiTokError(f"lm: unknown choice {name!r}; there are {', '.join(LMS)}")
    conf = dict(config.get("lm_conf") or {})
    legal = [p for p in inspect.signature(LMS[name].__init__).parameters if p not in ("self", "vocabulary")]
    _check("lm_conf", conf, legal)
    model_conf = dict(config.get("model_conf") or {})
    _check("model_conf", model_conf, MODEL_KEYS)
    pattern = build_pattern(config.get("pattern") or "flatten", vocabulary)
    return SpeechLMModel(LMS[name](vocabulary=vocabulary, **conf), pattern, **model_conf)


def _check(option: str, given: Mapping[str, Any], legal: list[str] | tuple[str, ...]) -> None:
    if unknown := sorted(set(given) - set(legal)):
        raise SiTokError(f"{option} has unknown keys: {', '.join(unknown)}; legal keys are {', '.join(legal)}")
