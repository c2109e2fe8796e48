"""Backbones that are causal language models of `transformers`: of a configuration, or pretrained on text."""

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache, PreTrainedModel
from transformers.utils import logging as transformers_logging

from sitok_espnet.errors import SiTokError
from sitok_espnet.speechlm.lm.abs_lm import AbsLM

# Keys of a configuration of transformers that say where it came from, or that the vocabulary decides.
NOT_ARCHITECTURE = frozenset(
    "model_type vocab_size architectures transformers_version dtype _name_or_path bos_token_id eos_token_id "
    "pad_token_id".split()
)
NO_CONFIG = "is no causal language model of transformers with these options"


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
        vocabulary_size: given by the task.
        model_type: of transformers, as "llama" or "qwen2".
        gradient_checkpointing: recompute activations in the backward pass: less memory, a third more time.
        config: options of that model's configuration, as hidden_size, num_hidden_layers, num_attention_heads.

    Raises:
        SiTokError: an unknown type or option.
    """

    def __init__(
        self,
        vocabulary_size: int,
        model_type: str = "llama",
        gradient_checkpointing: bool = False,
        config: dict[str, Any] | None = None,
    ) -> None:
        options = dict(config or {})
        try:
            # Special identifiers of text LMs mean nothing here, and may lie beyond a small vocabulary.
            special = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"))
            settings = AutoConfig.for_model(model_type, vocab_size=vocabulary_size, **(special | options))
            unknown = sorted(set(options) - set(AutoConfig.for_model(model_type).to_dict()))
            if unknown:
                raise ValueError(f"unknown options {', '.join(unknown)}")
            model = AutoModelForCausalLM.from_config(settings, attn_implementation="sdpa")
        except (ValueError, KeyError, TypeError) as error:
            raise SiTokError(f"lm_conf: {model_type!r} with {json.dumps(options)} {NO_CONFIG} ({error})") from error
        super().__init__(model, gradient_checkpointing)


class PretrainedLM(TransformersLM):
    """A pretrained text LM, its vocabulary extended by speech (PAPER section 4: how the paper's LLM-ASR begins).

    Its text pieces keep their identifiers; the new rows begin at the mean of the old ones.

    Args:
        vocabulary_size: given by the task.
        path: directory with the model and its weights (``hf download NAME --local-dir DIR`` fetches one).
        gradient_checkpointing: see ConfiguredLM.

    Raises:
        SiTokError: no model there, or one with more text pieces than the joint vocabulary.
    """

    def __init__(self, vocabulary_size: int, path: str, gradient_checkpointing: bool = False) -> None:
        if not (Path(path) / "config.json").is_file():
            raise SiTokError(
                f"lm_conf path: {path} holds no model of transformers (config.json): fetch one with "
                "`hf download NAME --local-dir DIR`"
            )
        try:
            model = AutoModelForCausalLM.from_pretrained(path, attn_implementation="sdpa", local_files_only=True)
        except (OSError, ValueError) as error:
            raise SiTokError(f"lm_conf path: {path} {NO_CONFIG} ({error})") from error
        if model.config.vocab_size > vocabulary_size:
            raise SiTokError(
                f"{path} has {model.config.vocab_size} text pieces, the joint vocabulary only {vocabulary_size} "
                "identifiers in all: make it with this model's text tokenizer (stage 3)"
            )
        verbosity = transformers_logging.get_verbosity()
        transformers_logging.set_verbosity_error()  # it explains how the new rows are made, as said above
        try:
            model.resize_token_embeddings(vocabulary_size, mean_resizing=True)
        finally:
            transformers_logging.set_verbosity(verbosity)
        super().__init__(model, gradient_checkpointing)
