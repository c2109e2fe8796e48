"""The paper's quantizer: one large codebook in a low-dimensional space, EMA updates (PAPER section 1)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sitok_espnet.nn.masks import valid_mask
from sitok_espnet.sitok.quantizer.abs_quantizer import AbsQuantizer, QuantizerOutput, code_usage
from sitok_espnet.sitok.quantizer.ema_codebook import EMACodebook


class EMAVectorQuantizer(AbsQuantizer):
    """Linear(D, d), nearest of K entries, Linear(d, D); loss ``commitment * mean |z - sg(c)|^2``.

    Args:
        input_size: D (given by the model, not a configuration key).
        codebook_size: K, 65,536 in the paper (12.5 tokens/s x 16 bit = 200 bit/s).
        codebook_dim: d, 32.
        commitment: weight of the commitment loss, the mean over valid tokens and dimensions (DESIGN section 8).
        decay: of the codebook's moving averages.
        l2_normalize: latents and entries on the unit sphere; false in the paper's configurations, steadier in small
            ones (ours).
    """

    def __init__(
        self,
        input_size: int,
        codebook_size: int = 65536,
        codebook_dim: int = 32,
        commitment: float = 0.25,
        decay: float = 0.99,
        l2_normalize: bool = False,
    ):
        super().__init__()
        self.project_in = nn.Linear(input_size, codebook_dim)
        self.codebook = EMACodebook(codebook_size, codebook_dim, decay, l2_normalize)
        self.project_out = nn.Linear(codebook_dim, input_size)
        self.commitment = commitment

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """(K,)."""
        return (self.codebook.entries.size(0),)

    def search_space(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, d), on the unit sphere if so configured."""
        latents = self.project_in(x.float())
        return F.normalize(latents, dim=-1) if self.codebook.l2_normalize else latents

    def forward(self, x: Tensor, lengths: Tensor) -> QuantizerOutput:
        """(B, T, D), lengths (B,) -> :class:`QuantizerOutput`, N = 1."""
        with torch.autocast(x.device.type, enabled=False):
            latents = self.search_space(x)
            valid = valid_mask(lengths, x.size(1))
            learning = self.training and not self.frozen
            if learning and not self.codebook.initialised:
                self.codebook.observe(latents[valid], None)
                no_codes = torch.zeros(*latents.shape[:2], 1, dtype=torch.long, device=x.device)
                return QuantizerOutput(
                    self.project_out(latents), latents[:, :, None], no_codes, latents.new_zeros(()), {}
                )
            codes = self.codebook.search(latents.flatten(0, 1)).view(latents.shape[:2])
            if learning:
                self.codebook.observe(latents[valid], codes[valid])
            chosen = self.codebook.entries[codes]
            loss = self.commitment * (latents - chosen)[valid].square().mean()
            quantized = latents + (chosen - latents).detach()
            stats = code_usage(codes[valid], self.codebook_sizes[0]) | {"loss_commitment": loss.detach()}
            return QuantizerOutput(self.project_out(quantized), quantized[:, :, None], codes[:, :, None], loss, stats)

    def encode(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, 1)."""
        with torch.autocast(x.device.type, enabled=False):
            latents = self.search_space(x)
            return self.codebook.search(latents.flatten(0, 1)).view(*latents.shape[:2], 1)

    def decode_codes(self, codes: Tensor) -> Tensor:
        """(B, T, 1) -> (B, T, D)."""
        with torch.autocast(codes.device.type, enabled=False):
            return self.project_out(self.codebook.entries[codes[..., 0]])

    def update_codebook(self) -> None:
        """Apply the statistics of the batches since the last optimizer step."""
        if not self.frozen:
            self.codebook.update()
