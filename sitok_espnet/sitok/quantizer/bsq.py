"""Binary spherical quantization (BSQ, arXiv 2406.07548): the corners of a cube on the unit sphere (PAPER section 1)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.quantizer.abs_scalar_quantizer import MAX_CODES, AbsScalarQuantizer

SMALLEST_SHARE = 1e-6  # of a bit's value in a batch; below it the logarithm's gradient explodes


class BinarySphericalQuantizer(AbsScalarQuantizer):
    """Linear(D, L), ``u = z / |z|``, ``c = sign(u) / sqrt(L)`` (straight-through), Linear(L, D).

    Loss ``entropy_weight / beta * (E[H(q(c|u))] - gamma H(E[q(c|u)])) + commitment E|u - sg(c)|^2`` over valid tokens,
    with the soft assignment ``q(c|u) ~ exp(-beta |u - c|^2)``: tokens should decide, and codes be used alike. The
    assignment is a product of L independent bits with logits ``4 beta u_d / sqrt(L)``. So the first entropy is the sum
    of the bits' entropies, exactly; for the second, the bits of the mean are taken as independent, an upper bound:
    neither needs the 2^L codes (section 4 of the BSQ paper). Entropies are in nats, and of this rank's batch.

    Args:
        input_size: D (given by the model, not a configuration key).
        num_bits: L; 16 in the pseudo-code of the paper's appendix (65,536 codes).
        entropy_weight: 0.1, as in the BSQ authors' released configuration (zhaoyue-zephyrus/bsq-vit,
            ``codebook_weight``; without its warm-up from three times that).
        gamma: weight of the batch's entropy, 1 there.
        beta: inverse temperature of the soft assignment, 1 there.
        commitment: 0 there: the distance to the nearest corner is bounded. The sum over dimensions, mean over tokens.
    """

    def __init__(
        self,
        input_size: int,
        num_bits: int = 16,
        entropy_weight: float = 0.1,
        gamma: float = 1.0,
        beta: float = 1.0,
        commitment: float = 0.0,
    ):
        most = MAX_CODES.bit_length() - 1
        if not isinstance(num_bits, int) or not 1 <= num_bits <= most:
            raise SiTokError(f"quantizer_conf num_bits must be a whole number from 1 to {most}, got {num_bits!r}")
        if not beta > 0:
            raise SiTokError(f"quantizer_conf beta must be positive, got {beta}")
        super().__init__(input_size, [2] * num_bits)
        self.entropy_weight = entropy_weight
        self.gamma = gamma
        self.beta = beta
        self.commitment = commitment

    def bound(self, latents: Tensor) -> Tensor:
        """On the unit sphere."""
        return F.normalize(latents, dim=-1)

    def nearest_digits(self, points: Tensor) -> Tensor:
        """1 where positive; zero counts as negative."""
        return (points > 0).long()

    def grid(self, digits: Tensor) -> Tensor:
        """-1 or 1, divided by sqrt(L)."""
        return (2 * digits - 1).float() / math.sqrt(self.codebook_dim)

    def regularisation(self, points: Tensor, chosen: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the class's description."""
        logits = 4 * self.beta / math.sqrt(self.codebook_dim) * points
        shares = torch.sigmoid(logits)
        of_tokens = (F.softplus(logits) - logits * shares).sum(dim=1).mean()
        mean = shares.mean(dim=0).clamp(SMALLEST_SHARE, 1 - SMALLEST_SHARE)
        of_batch = (torch.special.entr(mean) + torch.special.entr(1 - mean)).sum()
        distance = (points - chosen).square().sum(dim=1).mean()
        loss = self.entropy_weight / self.beta * (of_tokens - self.gamma * of_batch) + self.commitment * distance
        stats = {"entropy_tokens": of_tokens, "entropy_batch": of_batch, "loss_commitment": self.commitment * distance}
        return loss, {name: value.detach() for name, value in stats.items()}
