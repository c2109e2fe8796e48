"""Residual VQ: N codebooks, each quantizing what the ones before left over (PAPER section 4, "4 codebooks")."""

from collections.abc import Sequence

from torch import nn

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.quantizer.abs_ema_quantizer import AbsEMAQuantizer
from sitok_espnet.sitok.quantizer.ema_codebook import EMACodebook


class ResidualVectorQuantizer(AbsEMAQuantizer):
    """Linear(D, d), a chain of N EMA codebooks, Linear(d, D) of the sum of the chosen entries.

    Args:
        input_size: D (given by the model, not a configuration key).
        num_codebooks: N; 2, 4 and 8 in the paper.
        codebook_size: entries of every codebook, or a list with those of each; 16,384 in the paper's 0.7 kbit/s row.
        codebook_dim: d, shared by all codebooks.
        commitment: weight of the commitment loss, the mean over codebooks too, so that it does not grow with N.
        decay: of the moving averages.
        l2_normalize: latents on the unit sphere before the first codebook; entries are free, because residuals have
            no fixed length (ours).
        decay_warmup: the averages forget fast at first, see EMACodebook.
    """

    def __init__(
        self,
        input_size: int,
        num_codebooks: int = 4,
        codebook_size: int | Sequence[int] = 16384,
        codebook_dim: int = 32,
        commitment: float = 0.25,
        decay: float = 0.99,
        l2_normalize: bool = False,
        decay_warmup: bool = True,
    ):
        super().__init__(input_size, codebook_dim, commitment, l2_normalize)
        sizes = [codebook_size] * num_codebooks if isinstance(codebook_size, int) else list(codebook_size)
        if num_codebooks < 1 or len(sizes) != num_codebooks:
            raise SiTokError(
                f"quantizer_conf: num_codebooks is {num_codebooks}, but codebook_size names {len(sizes)} sizes: give "
                "one size for all codebooks, or one for each"
            )
        self.codebooks = nn.ModuleList(
            EMACodebook(size, codebook_dim, decay, l2_normalize=False, decay_warmup=decay_warmup) for size in sizes
        )

    @property
    def chain(self) -> Sequence[EMACodebook]:
        """The N codebooks."""
        return self.codebooks
