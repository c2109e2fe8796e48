"""The smallest language model, for tests."""

from dataclasses import asdict

import torch

from sitok_espnet.speechlm.espnet_model import SpeechLMModel
from sitok_espnet.speechlm.slots import build_speech_lm
from sitok_espnet.speechlm.vocabulary import JointVocabulary

SIZES = (6, 4)
LLAMA = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}


def tiny_lm_config(sizes=SIZES, **changes) -> dict:
    vocabulary = JointVocabulary(8, "texts", tuple(sizes), "codes", "25/2")
    return {
        "vocabulary": asdict(vocabulary),
        "pattern": "flatten",
        "lm": "configured",
        "lm_conf": {"model_type": "llama", "config": dict(LLAMA)},
        "model_conf": {"text_drop": 0.5, "pack_length": 40},
        **changes,
    }


def tiny_lm(seed: int = 0, **changes) -> SpeechLMModel:
    torch.manual_seed(seed)
    return build_speech_lm(tiny_lm_config(**changes)).eval()


def utterances(count: int = 5, sizes=SIZES, seed: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Text pieces (U,) and codes (T, N), of different lengths."""
    generator = torch.Generator().manual_seed(seed)
    items = []
    for index in range(count):
        codes = [torch.randint(size, (3 + 2 * index,), generator=generator) for size in sizes]
        items.append((torch.randint(8, (2 + index,), generator=generator), torch.stack(codes, dim=1)))
    return items
