"""Mel prompts of a decoder: an utterance whose beginning is known (PAPER section 2, DESIGN section 8, Mel prompt).

Shapes: B utterances, P tokens of the longest prompt, T tokens of the longest target, N codebooks, k frames a token.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from sitok_espnet.nn.masks import valid_mask

LARGEST_PREFIX = (3, 10)  # of an utterance, in training; a fraction, so that no rounding decides
NO_PREFIX = 0.3  # share of the utterances that are trained without one, as most are decoded


@dataclass(frozen=True)
class MelPrompt:
    """What a decoder sees. mel: (B, T, kM) normalised, stacked, clean at the first ``lengths`` (B,) positions."""

    mel: Tensor
    lengths: Tensor

    def positions(self) -> Tensor:
        """(B, T, 1) bool, true where the prompt is."""
        return valid_mask(self.lengths, self.mel.size(1))[:, :, None]


@dataclass(frozen=True)
class TokenPrompt:
    """What a model is given. codes: (B, P, N). mel: (B, kP, M) natural log. lengths: (B,) tokens, 0 for no prompt."""

    codes: Tensor
    mel: Tensor
    lengths: Tensor


def random_prefix(uniform: Tensor, lengths: Tensor) -> Tensor:
    """Tokens (B,) that stay clean in training, from (B,) in [0, 1).

    None with probability ``NO_PREFIX``, otherwise evenly 1, 2, ... up to 30 % of ``lengths``.
    """
    numerator, denominator = LARGEST_PREFIX
    most = torch.div(numerator * lengths, denominator, rounding_mode="floor")
    within = (uniform.double() - NO_PREFIX) / (1 - NO_PREFIX)
    return torch.where(within < 0, 0, torch.minimum(1 + (within * most).long(), most))


def join(prompts: Tensor, prompt_lengths: Tensor, targets: Tensor, lengths: Tensor) -> Tensor:
    """(B, P, X) and (B, T, X), padded -> (B, longest sum of lengths, X): every prompt directly before its target."""
    longest = int((prompt_lengths + lengths).max())
    index = torch.arange(longest, device=targets.device)[None, :]
    after = prompts.size(1) + index - prompt_lengths[:, None]
    index = torch.where(index < prompt_lengths[:, None], index, after)
    both = torch.cat((prompts, targets), dim=1)
    return both.take_along_dim(index.clamp(max=both.size(1) - 1)[:, :, None], dim=1)


def cut(joined: Tensor, prompt_lengths: Tensor, positions: int) -> Tensor:
    """Take the prompts off again: (B, P + T, X) -> (B, ``positions``, X), any value beyond the target's length."""
    index = prompt_lengths[:, None] + torch.arange(positions, device=joined.device)[None, :]
    return joined.take_along_dim(index.clamp(max=joined.size(1) - 1)[:, :, None], dim=1)
