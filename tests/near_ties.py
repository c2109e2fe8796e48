"""Codes that must be equal, but for proven near ties (DESIGN section 6, promises 1 and 2)."""

import numpy as np
import torch

from sitok_espnet.computing import exact_inference


def assert_same_codes(tokenizer, wav, codes, expected):
    """Codes (T, N) of one waveform, computed in another way than `encode`, which gave `expected`."""
    assert codes.dtype == np.int64 and codes.shape == expected.shape
    with exact_inference():
        latents = tokenizer.model.latents(torch.from_numpy(wav)[None], torch.tensor([len(wav)]))[0][0]
        for position in np.flatnonzero((codes != expected).any(axis=1)):
            pair = torch.from_numpy(expected[position]), torch.from_numpy(codes[position])
            tie = tokenizer.model.quantizer.is_near_tie(latents[position], *pair)
            assert tie, f"token {position}: {codes[position]} is not {expected[position]}"
