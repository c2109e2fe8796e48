"""Normalisation of the mel bins: ESPnet's GlobalMVN with the floor that SiTok needs."""

from espnet2.layers.global_mvn import GlobalMVN as ESPnetGlobalMVN


class GlobalMVN(ESPnetGlobalMVN):
    """Per-bin mean and deviation of the training set (B, F, M), invertible.

    ESPnet floors the variance by ``eps``; with 1.0 that floors the deviation at 1.0 log unit too: a model trained on
    band-limited speech, whose top bins hardly vary, must survive full-band noise (DESIGN section 8, Normalisation).

    Args:
        stats_file: ``feats_stats.npz`` of stage 4.
        norm_means, norm_vars: whether to subtract the mean and divide by the deviation.
        eps: floor of the variance.
    """

    def __init__(self, stats_file: str, norm_means: bool = True, norm_vars: bool = True, eps: float = 1.0):
        super().__init__(stats_file, norm_means=norm_means, norm_vars=norm_vars, eps=eps)
