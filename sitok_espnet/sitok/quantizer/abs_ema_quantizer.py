"""Vector quantization by a chain of EMA codebooks in a projected space: one link is VQ, several are residual VQ."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sitok_espnet.nn.masks import valid_mask
from sitok_espnet.sitok.quantizer.abs_quantizer import NEAR_TIE, AbsQuantizer, QuantizerOutput, code_usage
from sitok_espnet.sitok.quantizer.ema_codebook import EMACodebook


class AbsEMAQuantizer(AbsQuantizer):
    """Linear(D, d); every codebook quantizes what the ones before it left over; Linear(d, D) of their sum.

    Loss ``commitment * mean_n mean |r_n - sg(c_n)|^2`` with the residuals ``r_0 = z``, ``r_{n+1} = r_n - sg(c_n)``
    (PAPER section 1; SoundStream, arXiv 2107.03312, for the chain). Codebooks are initialised one after the other:
    until the last one is, the rest of the latent passes unquantized.

    Args:
        input_size: D.
        codebook_dim: d.
        commitment: weight of the commitment loss, the mean over valid tokens, dimensions and codebooks.
        l2_normalize: latents on the unit sphere.
    """

    def __init__(self, input_size: int, codebook_dim: int, commitment: float, l2_normalize: bool):
        super().__init__()
        self.project_in = nn.Linear(input_size, codebook_dim)
        self.project_out = nn.Linear(codebook_dim, input_size)
        self.commitment = commitment
        self.l2_normalize = l2_normalize

    @property
    @abstractmethod
    def chain(self) -> Sequence[EMACodebook]:
        """The N codebooks, coarse to fine."""

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Entries of each codebook."""
        return tuple(codebook.entries.size(0) for codebook in self.chain)

    @property
    def codebook_dim(self) -> int:
        """d."""
        return self.project_in.out_features

    def search_space(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, d), on the unit sphere if so configured."""
        latents = self.project_in(x.float())
        return F.normalize(latents, dim=-1) if self.l2_normalize else latents

    def forward(self, x: Tensor, lengths: Tensor) -> QuantizerOutput:
        """(B, T, D), lengths (B,) -> :class:`QuantizerOutput`."""
        with torch.autocast(x.device.type, enabled=False):
            latents = self.search_space(x)
            valid = valid_mask(lengths, x.size(1))
            learning = self.training and not self.frozen
            residual, losses, parts, codes, stats = latents, [], [], [], {}
            for number, codebook in enumerate(self.chain):
                if learning and not codebook.initialised:
                    codebook.observe(residual[valid], None)
                    return self._unfinished(latents)
                found = codebook.search(residual.flatten(0, 1)).view(latents.shape[:2])
                if learning:
                    codebook.observe(residual[valid], found[valid])
                chosen = codebook.entries[found]
                losses.append((residual - chosen)[valid].square().mean())
                parts.append(residual + (chosen - residual).detach())
                codes.append(found)
                suffix = f"_{number}" if len(self.chain) > 1 else ""
                use = code_usage(found[valid], codebook.entries.size(0))
                stats |= {f"{name}{suffix}": value for name, value in use.items()}
                residual = residual - chosen
            loss = self.commitment * torch.stack(losses).mean()
            # residual = latents - sum of the entries; the straight-through gradient reaches the latents once.
            quantized = latents - residual.detach()
            return QuantizerOutput(
                self.project_out(quantized),
                torch.stack(parts, dim=2),
                torch.stack(codes, dim=2),
                loss,
                stats | {"loss_commitment": loss.detach()},
            )

    def _unfinished(self, latents: Tensor) -> QuantizerOutput:
        """Output before all codebooks are initialised: the latents themselves, as one part for all codebooks."""
        no_codes = torch.zeros(*latents.shape[:2], len(self.chain), dtype=torch.long, device=latents.device)
        return QuantizerOutput(self.project_out(latents), latents[:, :, None], no_codes, latents.new_zeros(()), {})

    def encode(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, N)."""
        with torch.autocast(x.device.type, enabled=False):
            residual, codes = self.search_space(x), []
            for codebook in self.chain:
                codes.append(codebook.search(residual.flatten(0, 1)).view(residual.shape[:2]))
                residual = residual - codebook.entries[codes[-1]]
            return torch.stack(codes, dim=2)

    def decode_per_codebook(self, codes: Tensor) -> Tensor:
        """(B, T, N) -> (B, T, N, d)."""
        return torch.stack([codebook.entries[codes[..., n]] for n, codebook in enumerate(self.chain)], dim=2)

    def decode_codes(self, codes: Tensor) -> Tensor:
        """(B, T, N) -> (B, T, D)."""
        with torch.autocast(codes.device.type, enabled=False):
            return self.project_out(self.decode_per_codebook(codes).sum(dim=2))

    def is_near_tie(self, latent: Tensor, first: Tensor, second: Tensor) -> bool:
        """The two entries are equally far from what the codebooks before left over: squared distances, to 1e-4."""
        residual = self.search_space(latent).double()
        for codebook, one, two in zip(self.chain, first.tolist(), second.tolist(), strict=True):
            entries = codebook.entries[[one, two]].double()
            if one != two:
                near, far = (entries - residual).square().sum(dim=1).sort().values.tolist()
                return far - near <= NEAR_TIE * far
            residual = residual - entries[0]
        return True

    def update_codebook(self) -> None:
        """Apply the statistics of the batches since the last optimizer step."""
        if self.frozen:
            return
        for codebook in self.chain:
            initialised = codebook.initialised
            codebook.update()
            if not initialised:
                return  # the next one has seen no residuals yet
