"""Masks of right-padded batches."""

import torch
from torch import Tensor


def valid_mask(lengths: Tensor, max_length: int) -> Tensor:
    """(B,) lengths -> (B, max_length) bool, true at valid positions."""
    return torch.arange(max_length, device=lengths.device)[None, :] < lengths[:, None]
