"""The paper's quantizer: one large codebook in a low-dimensional space, EMA updates (PAPER section 1)."""

from collections.abc import Sequence

from sitok_espnet.sitok.quantizer.abs_ema_quantizer import AbsEMAQuantizer
from sitok_espnet.sitok.quantizer.ema_codebook import EMACodebook


class EMAVectorQuantizer(AbsEMAQuantizer):
    """Linear(D, d), nearest of K entries, Linear(d, D); loss ``commitment * mean |z - sg(c)|^2``.

    Args:
        input_size: D (given by the model, not a configuration key).
        codebook_size: K, 65,536 in the paper (12.5 tokens/s x 16 bit = 200 bit/s).
        codebook_dim: d, 32.
        commitment: weight of the commitment loss, the mean over valid tokens and dimensions (DESIGN section 8).
        decay: of the codebook's moving averages.
        l2_normalize: latents and entries on the unit sphere; false in the paper's configurations, steadier in small
            ones (ours).
        decay_warmup: the averages forget fast at first, see EMACodebook.
    """

    def __init__(
        self,
        input_size: int,
        codebook_size: int = 65536,
        codebook_dim: int = 32,
        commitment: float = 0.25,
        decay: float = 0.99,
        l2_normalize: bool = False,
        decay_warmup: bool = True,
    ):
        super().__init__(input_size, codebook_dim, commitment, l2_normalize)
        self.codebook = EMACodebook(codebook_size, codebook_dim, decay, l2_normalize, decay_warmup)

    @property
    def chain(self) -> Sequence[EMACodebook]:
        """The one codebook."""
        return (self.codebook,)
