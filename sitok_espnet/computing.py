"""How inference computes: in full precision, and in batches that depend on lengths alone."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from sitok_espnet.errors import SiTokError


def check_device(device: str) -> None:
    """SiTokError in one line for a device that torch does not have here."""
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SiTokError(f"device {device!r} cannot be used ({str(error).splitlines()[0]}): try cpu") from error


@contextmanager
def exact_inference() -> Iterator[None]:
    """Inference mode with TF32 (and its CPU relatives) off; the process's settings come back afterwards."""
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.mkldnn.matmul)
    saved = [backend.fp32_precision for backend in backends]
    try:
        for backend in backends:
            backend.fp32_precision = "ieee"
        with torch.inference_mode():
            yield
    finally:
        for backend, value in zip(backends, saved, strict=True):
            backend.fp32_precision = value


def make_batches(lengths: Sequence[int], budget: float) -> list[list[int]]:
    """Indices of similar lengths together, longest first; (items x longest) of a batch stays within the budget.

    An item longer than the budget is a batch of its own. Depends on the lengths alone, not on time or memory.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= budget:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
