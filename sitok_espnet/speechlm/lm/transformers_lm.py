"""Backbones that are causal language models of `transformers`: of a configuration, or pretrained on text."""

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sitok_espnet.errors import SiTokError
from sitok_espnet.speechlm.lm.abs_lm import AbsLM
from sitok_espnet.speechlm.text import tokenizer_hash
from sitok_espnet.speechlm.vocabulary import JointVocabulary

try:
    from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, PreTrainedConfig, PreTrainedModel
    from transformers.utils import logging as transformers_logging
except ImportError as error:
    raise SiTokError(f"text to speech needs transformers ({error}): pip install 'sitok_espnet[tts]'") from error

# Keys of a configuration of transformers that say where it came from, or that the vocabulary decides.
NOT_ARCHITECTURE = frozenset(
    "model_type vocab_size architectures transformers_version dtype _name_or_path bos_token_id eos_token_id "
    "pad_token_id".split()
)
# Types whose attention obeys the given mask and positions to the letter, which packing, left padding and the cache rely
# on: tests/speechlm/test_backbones.py shows it of each. Recurrent layers would let packed utterances hear each other.
MODEL_TYPES = (
    "llama",
    "qwen2",
    "qwen3",
    "mistral",
    "phi",
    "phi3",
    "granite",
    "smollm3",
    "cohere",
    "gpt2",
    "gpt_neox",
    "opt",
)
NO_CONFIG = "is no causal language model of transformers with these options"


def check_attention(settings: PreTrainedConfig) -> None:
    """ValueError unless every position can see all before it, and rotary angles depend on positions alone."""
    if settings.model_type not in MODEL_TYPES:
        raise ValueError(
            f"model_type {settings.model_type} is not among those that were tested: {', '.join(MODEL_TYPES)}"
        )
    others = sorted(set(getattr(settings, "layer_types", None) or ()) - {"full_attention"})
    if others or getattr(settings, "sliding_window", None) is not None:
        raise ValueError(
            f"layers of {', '.join(others) or 'sliding_attention'}: only full attention (sliding_window: null)"
        )
    rope = (getattr(settings, "rope_parameters", None) or {}).get("rope_type")
    if rope in ("dynamic", "longrope"):
        raise ValueError(f"rope_type {rope}: its angles depend on the longest sequence of a batch")


class TransformersLM(AbsLM):
    """What both share. ``model`` is a causal LM whose embedding and output rows are those of the joint vocabulary."""

    def __init__(self, model: PreTrainedModel, gradient_checkpointing: bool) -> None:
        super().__init__()
        self.model = model
        if gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})

    def architecture(self) -> dict[str, Any]:
        """``lm_conf`` of a ConfiguredLM with this architecture."""
        settings = self.model.config
        defaults = AutoConfig.for_model(settings.model_type).to_dict()
        changed = {key: value for key, value in settings.to_diff_dict().items() if key in defaults}
        return {
            "model_type": settings.model_type,
            "config": {key: value for key, value in changed.items() if key not in NOT_ARCHITECTURE},
        }

    def max_positions(self) -> int | None:
        """See AbsLM."""
        return self.model.config.max_position_embeddings

    def output_size(self) -> int:
        """Width of the hidden states."""
        return self.model.get_output_embeddings().in_features

    def embed(self, identifiers: Tensor) -> Tensor:
        """See AbsLM."""
        return self.model.get_input_embeddings()(identifiers)

    def set_embeddings(self, choices: range, rows: Tensor) -> None:
        """See AbsLM; with tied embeddings the two are one."""
        with torch.no_grad():
            for layer in (self.model.get_input_embeddings(), self.model.get_output_embeddings()):
                layer.weight[choices.start : choices.stop] = rows.to(layer.weight)

    def forward(self, embeddings: Tensor, mask: Tensor, positions: Tensor, cache: Any = None) -> Tensor:
        """See AbsLM."""
        output = self.model.get_decoder()(
            inputs_embeds=embeddings,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        return output.last_hidden_state

    def make_cache(self) -> DynamicCache:
        """See AbsLM."""
        return DynamicCache(config=self.model.config)

    def logits(self, hidden: Tensor, choices: range) -> Tensor:
        """See AbsLM: only the asked rows of the output layer are computed."""
        output = self.model.get_output_embeddings()
        bias = None if output.bias is None else output.bias[choices.start : choices.stop]
        return F.linear(hidden, output.weight[choices.start : choices.stop], bias)


class ConfiguredLM(TransformersLM):
    """A backbone from scratch.

    Args:
        vocabulary: given by the task.
        model_type: one of MODEL_TYPES.
        gradient_checkpointing: recompute activations in the backward pass: less memory, a third more time.
        config: options of that model's configuration, as hidden_size, num_hidden_layers, num_attention_heads.

    Raises:
        SiTokError: an unknown type or option.
    """

    def __init__(
        self,
        vocabulary: JointVocabulary,
        model_type: str = "llama",
        gradient_checkpointing: bool = False,
        config: dict[str, Any] | None = None,
    ) -> None:
        options = dict(config or {})
        try:
            # Special identifiers of text LMs mean nothing here, and may lie beyond a small vocabulary.
            special = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"))
            settings = AutoConfig.for_model(model_type, vocab_size=len(vocabulary), **(special | options))
            unknown = sorted(set(options) - set(AutoConfig.for_model(model_type).to_dict()))
            if unknown:
                raise ValueError(f"unknown options {', '.join(unknown)}")
            check_attention(settings)
            model = AutoModelForCausalLM.from_config(settings, attn_implementation="sdpa")
        except (ValueError, KeyError, TypeError) as error:
            raise SiTokError(f"lm_conf: {model_type!r} with {json.dumps(options)} {NO_CONFIG} ({error})") from error
        super().__init__(model, gradient_checkpointing)


class PretrainedLM(TransformersLM):
    """A pretrained text LM, its vocabulary extended by speech (PAPER section 4: how the paper's LLM-ASR begins).

    Its text pieces keep their identifiers; the new rows are drawn around the mean of the old ones. In float32, whatever
    the weights were published in: bfloat16 has no room for the optimizer's small steps.

    Args:
        vocabulary: given by the task; made with this model's text tokenizer.
        path: directory with the model and its weights (``hf download NAME --local-dir DIR`` fetches one).
        gradient_checkpointing: see ConfiguredLM.

    Raises:
        SiTokError: no model there, or one with other text pieces than the joint vocabulary.
    """

    def __init__(self, vocabulary: JointVocabulary, path: str, gradient_checkpointing: bool = False) -> None:
        if not (Path(path) / "config.json").is_file():
            raise SiTokError(
                f"lm_conf path: {path} holds no model of transformers (config.json): fetch one with "
                "`hf download NAME --local-dir DIR`"
            )
        try:
            check_attention(AutoConfig.from_pretrained(path, local_files_only=True))
            model = AutoModelForCausalLM.from_pretrained(
                path, attn_implementation="sdpa", local_files_only=True, dtype=torch.float32
            )
        except (OSError, ValueError) as error:
            raise SiTokError(f"lm_conf path: {path} {NO_CONFIG} ({error})") from error
        theirs = model.config.vocab_size, tokenizer_hash(path) or vocabulary.text_hash
        if theirs != (vocabulary.text_size, vocabulary.text_hash):
            raise SiTokError(
                f"{path} has other text pieces ({theirs[0]}, hash {theirs[1]}) than the joint vocabulary "
                f"({vocabulary.text_size}, {vocabulary.text_hash}): make that with --text_tokenizer {path} (stage 3)"
            )
        verbosity = transformers_logging.get_verbosity()
        transformers_logging.set_verbosity_error()  # it explains how the new rows are made, as said above
        try:
            model.resize_token_embeddings(len(vocabulary), mean_resizing=True)
        finally:
            transformers_logging.set_verbosity(verbosity)
        super().__init__(model, gradient_checkpointing)
