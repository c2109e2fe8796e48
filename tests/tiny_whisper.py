"""Tiny random Whispers with the files of the real ones: they understand nothing, but the real libraries run them."""

import json
from pathlib import Path

import torch


def save_whisper(folder: Path, multilingual: bool = True) -> Path:
    """As transformers saves the real ones."""
    from transformers import (
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
        WhisperTokenizer,
    )
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    vocabulary = {token: number for number, token in enumerate(bytes_to_unicode().values())}
    languages = [f"<|{code}|>" for code in ("en", "es", "zh")]
    special = ["<|endoftext|>", "<|startoftranscript|>", *languages, "<|translate|>", "<|transcribe|>"]
    special += [
        "<|startoflm|>",
        "<|startofprev|>",
        "<|nospeech|>",
        "<|notimestamps|>",
        *(f"<|{0.02 * n:.2f}|>" for n in range(1501)),
    ]
    (folder / "normalizer.json").write_text(json.dumps({"colour": "color"}))
    tokenizer = WhisperTokenizer(vocabulary, [], normalizer_file=folder / "normalizer.json")
    tokenizer.add_special_tokens({"additional_special_tokens": special[1:11]})
    tokenizer.add_tokens(special[11:])
    number = {token: tokenizer.convert_tokens_to_ids(token) for token in special}
    torch.manual_seed(0)
    size = {"d_model": 16, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "num_mel_bins": 80}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_layers": 1, "decoder_layers": 1}
    ends = {key: number["<|endoftext|>"] for key in ("eos_token_id", "pad_token_id", "bos_token_id")}
    start = {"decoder_start_token_id": number["<|startoftranscript|>"]}
    model = WhisperForConditionalGeneration(
        WhisperConfig(vocab_size=len(tokenizer), max_target_positions=448, **size, **heads, **ends, **start)
    )
    generation = model.generation_config
    generation.update(**ends, **start, max_length=30)
    generation.is_multilingual = multilingual
    generation._from_model_config = False  # else loading makes it again from config.json, as of a model without one
    generation.begin_suppress_tokens = [number["<|endoftext|>"]]
    generation.no_timestamps_token_id = number["<|notimestamps|>"]
    generation.prev_sot_token_id = number["<|startofprev|>"]
    if multilingual:
        generation.lang_to_id = {token: number[token] for token in languages}
        generation.task_to_id = {task: number[f"<|{task}|>"] for task in ("transcribe", "translate")}
    model.save_pretrained(folder)
    WhisperProcessor(WhisperFeatureExtractor(feature_size=80), tokenizer).save_pretrained(folder)
    return folder


def convert_whisper(saved: Path, folder: Path) -> Path:
    """The same for CTranslate2, by its own converter."""
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(saved), copy_files=["tokenizer.json", "normalizer.json"]).convert(str(folder))
    return folder
