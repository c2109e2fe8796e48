"""StackIn and StackOut: k mel frames become one token position and back (PAPER section 1, temporal stacking)."""

from torch import Tensor


def stack_frames(x: Tensor, factor: int) -> Tensor:
    """(B, kT, M) -> (B, T, kM): frame k t + j fills columns j M .. (j + 1) M - 1 of position t."""
    batch, frames, bins = x.shape
    if frames % factor:
        raise ValueError(f"{frames} frames are not a multiple of the stacking factor {factor}")
    return x.reshape(batch, frames // factor, factor * bins)


def unstack_frames(x: Tensor, factor: int) -> Tensor:
    """(B, T, kM) -> (B, kT, M), the inverse of :func:`stack_frames`."""
    batch, positions, width = x.shape
    return x.reshape(batch, positions * factor, width // factor)
