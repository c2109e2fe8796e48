"""Collectives that are the identity in a single process."""

import torch
import torch.distributed as dist
from torch import Tensor


def is_distributed() -> bool:
    """Whether a process group of more than one rank is running."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """This process's rank, 0 in a single process."""
    return dist.get_rank() if is_distributed() else 0


def world_size() -> int:
    """Number of processes, 1 in a single process."""
    return dist.get_world_size() if is_distributed() else 1


def leave() -> None:
    """Close the process group, if there is one: threads of it that outlive the interpreter end the process with -6."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()


def all_reduce_sum(*tensors: Tensor) -> None:
    """Sum every tensor over all ranks, in place."""
    if is_distributed():
        for tensor in tensors:
            dist.all_reduce(tensor)


def gather_rows(rows: Tensor) -> Tensor:
    """Concatenate the (n_r, d) tensors of all ranks, n_r may differ: -> (sum of n_r, d), in rank order."""
    if not is_distributed():
        return rows
    size = torch.tensor([rows.size(0)], device=rows.device)
    sizes = [torch.zeros_like(size) for _ in range(world_size())]
    dist.all_gather(sizes, size)
    longest = int(max(s.item() for s in sizes))
    padded = rows.new_zeros(longest, rows.size(1))
    padded[: rows.size(0)] = rows
    gathered = [torch.zeros_like(padded) for _ in sizes]
    dist.all_gather(gathered, padded)
    return torch.cat([g[: int(s.item())] for g, s in zip(gathered, sizes, strict=True)])
