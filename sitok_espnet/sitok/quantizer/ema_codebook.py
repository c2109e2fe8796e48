"""A codebook learned by exponential moving averages, with dead-code revival; correct under several processes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sitok_espnet.errors import SiTokError
from sitok_espnet.nn.distributed import all_reduce_sum, gather_rows, rank, world_size
from sitok_espnet.sitok.quantizer.search import nearest_codes

LAPLACE = 1e-5
DEAD_SHARE = 0.03
# Pooling for the initialisation ends here even if the pool is still smaller than the codebook.
MAX_POOLING_UPDATES = 64
JITTER = 1e-3


class EMACodebook(nn.Module):
    """Entries follow the means of the latents assigned to them (van den Oord et al. 2017, appendix A.1).

    ``observe`` collects statistics of a batch, ``update`` applies them once per optimizer step, so that gradient
    accumulation and recomputation do not move the codebook twice. Until enough latents are pooled to draw the
    entries from, ``initialised`` is false and latents pass unquantized.

    Every random draw is seeded by the number of updates, and pools are put in canonical order: all ranks, and a single
    process with the same global batch, make the same codebook. The update counter is a float buffer because
    checkpoint averaging sums integer buffers.

    Args:
        size: K entries.
        dim: d, width of an entry.
        decay: of the moving averages, 0.99 (DESIGN section 8).
        l2_normalize: entries live on the unit sphere.
        decay_warmup: the decay grows from update to update, see :meth:`current_decay`.
    """

    def __init__(self, size: int, dim: int, decay: float, l2_normalize: bool, decay_warmup: bool = True):
        super().__init__()
        if size < 2:
            raise SiTokError(f"quantizer_conf codebook_size must be at least 2, got {size}")
        self.decay = decay
        self.decay_warmup = decay_warmup
        self.l2_normalize = l2_normalize
        self.register_buffer("entries", self._on_manifold(torch.randn(size, dim)))
        self.register_buffer("ema_count", torch.zeros(size))
        self.register_buffer("ema_sum", torch.zeros(size, dim))
        self.register_buffer("num_updates", torch.zeros((), dtype=torch.float64))
        self._known_initialised = False
        self._pool: list[Tensor] = []
        self._pooling_updates = 0
        self._count: Tensor | None = None
        self._sum: Tensor | None = None

    @property
    def initialised(self) -> bool:
        """Whether entries come from data (one device synchronisation, then cached)."""
        if not self._known_initialised:
            self._known_initialised = bool(self.ema_count.sum() > 0)
        return self._known_initialised

    def _load_from_state_dict(self, *args) -> None:
        super()._load_from_state_dict(*args)
        self._known_initialised = False

    def _on_manifold(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=-1) if self.l2_normalize else x

    def search(self, latents: Tensor) -> Tensor:
        """(n, d) -> nearest entries (n,)."""
        return nearest_codes(latents, self.entries)

    @torch.no_grad()
    def observe(self, latents: Tensor, codes: Tensor | None) -> None:
        """Add a batch of valid latents (n, d) and their codes (n,) to the statistics of the coming update."""
        if torch._C._current_graph_task_id() != -1:
            return  # inside backward: activation recomputation repeats a forward that was already observed
        latents = latents.detach()
        finite = latents.isfinite().all(dim=1)
        latents = latents[finite]
        self._pool.append(latents)
        if codes is None:
            return
        if self._count is None:
            self._count, self._sum = torch.zeros_like(self.ema_count), torch.zeros_like(self.ema_sum)
        codes = codes[finite]
        self._count += torch.bincount(codes, minlength=self._count.numel())
        self._sum.index_add_(0, codes, latents)

    @torch.no_grad()
    def update(self) -> None:
        """Initialise from the pool, or move the averages and revive dead entries. All ranks call it together."""
        if not self.initialised:
            self._try_initialise()
            return
        if self._count is None:
            return
        count, total, pool = self._count, self._sum, self._take_pool()
        self._count = self._sum = None
        all_reduce_sum(count, total)
        decay = self.current_decay()
        self.ema_count.lerp_(count, 1.0 - decay)
        self.ema_sum.lerp_(total, 1.0 - decay)
        mass, size = self.ema_count.sum(), self.ema_count.numel()
        smoothed = (self.ema_count + LAPLACE) / (mass + size * LAPLACE) * mass
        self.entries.copy_(self._on_manifold(self.ema_sum / smoothed[:, None]))
        self.num_updates += 1
        self._revive(pool)

    def current_decay(self) -> float:
        """Decay of the coming update: ``min(decay, (1 + n) / (10 + n))`` after n updates, or ``decay`` from the start.

        The encoder moves fast in its first updates. Averages that forget slowly stay where it was: the entries fall
        behind, and their counts stay near the mean for hundreds of updates, so that nothing is revived (ours; the
        growing decay is the usual one of averaged weights).
        """
        if not self.decay_warmup:
            return self.decay
        updates = self.num_updates.item()
        return min(self.decay, (1.0 + updates) / (10.0 + updates))

    def _take_pool(self) -> Tensor:
        pool = torch.cat(self._pool) if self._pool else self.entries[:0]
        self._pool = []
        return pool

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(int(self.num_updates.item()))

    def _try_initialise(self) -> None:
        self._pooling_updates += 1
        pooled = torch.tensor([sum(p.size(0) for p in self._pool)], device=self.entries.device)
        all_reduce_sum(pooled)
        size = self.entries.size(0)
        if pooled.item() == 0 or (pooled.item() < size and self._pooling_updates < MAX_POOLING_UPDATES):
            return
        pool = torch.unique(gather_rows(self._take_pool()), dim=0)
        if pool.size(0) < size and self._pooling_updates < MAX_POOLING_UPDATES:
            # Many identical latents (digital silence): keep one of each, on one rank only, and pool on.
            self._pool = [pool[torch.arange(pool.size(0), device=pool.device) % world_size() == rank()]]
            return
        generator = self._generator()
        order = torch.randperm(pool.size(0), generator=generator).to(pool.device)
        entries = pool[order.repeat(-(-size // order.numel()))[:size]].clone()
        if pool.size(0) < size:
            noise = torch.randn(entries.shape, generator=generator).to(entries)
            entries = entries + JITTER * pool.std(correction=0) * noise
        self.entries.copy_(self._on_manifold(entries))
        # Every entry starts with the mean count of an update, so that unused ones are found dead soon.
        self.ema_count.fill_(pooled.item() / self._pooling_updates / size)
        self.ema_sum.copy_(self.entries * self.ema_count[:, None])
        self.num_updates += 1

    def _revive(self, pool: Tensor) -> None:
        """Replace entries used less than ``DEAD_SHARE`` of the mean by distinct latents of this step."""
        mean = self.ema_count.mean()
        dead = (self.ema_count < DEAD_SHARE * mean).nonzero().squeeze(1)
        if dead.numel() == 0:
            return
        pool = self._new_rows(gather_rows(pool))
        chosen = torch.randperm(pool.size(0), generator=self._generator())[: dead.numel()].to(pool.device)
        dead = dead[: chosen.numel()]
        self.entries[dead] = pool[chosen]
        self.ema_count[dead] = mean
        self.ema_sum[dead] = pool[chosen] * mean

    def _new_rows(self, pool: Tensor) -> Tensor:
        """Distinct rows of the pool in canonical (lexicographic) order, without those that already are entries."""
        rows, inverse = torch.unique(torch.cat((self.entries, pool)), dim=0, return_inverse=True)
        taken = torch.zeros(rows.size(0), dtype=torch.bool, device=rows.device)
        taken[inverse[: self.entries.size(0)]] = True
        return rows[~taken]
