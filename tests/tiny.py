"""The smallest complete model, for tests."""

import copy

import torch

from sitok_espnet.sitok.slots import build_model

TINY = {
    "model_conf": {"stacking_factor": 4, "lambda_ctc": 0.1},
    "feats_extract": "log_mel",
    "feats_extract_conf": {},
    "normalize": None,
    "normalize_conf": {},
    "encoder": "llama",
    "encoder_conf": {"num_layers": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2},
    "quantizer": "ema_vq",
    "quantizer_conf": {"codebook_size": 16, "codebook_dim": 4, "l2_normalize": True},
    "ctc": "llama",
    "ctc_conf": {"num_layers": 1, "intermediate_size": 48, "num_heads": 2},
    "decoder": "flow_matching",
    "decoder_conf": {
        "num_layers": 2,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "prediction": "x",
    },
    "token_list": ["<blank>", "<unk>", "a", "b", "c", "<sos/eos>"],
}


def tiny_config(**changes) -> dict:
    """TINY with whole top-level entries replaced."""
    return {**copy.deepcopy(TINY), **changes}


def tiny_model(seed: int = 0, **changes):
    """A seeded random model of :func:`tiny_config`, adaptive norms and null condition away from zero."""
    torch.manual_seed(seed)
    return build_model(tiny_config(**changes))
