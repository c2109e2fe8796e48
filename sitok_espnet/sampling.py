"""What a caller of `SiTok.decode` asks of the decoder, checked."""

import numpy as np

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.decoder.abs_decoder import SamplingConfig


def sampling_options(steps: int | None, cfg_scale: float, seed: int) -> SamplingConfig:
    """Checked options of decoding; SiTokError names the bad one."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise SiTokError(f"seed must be a non-negative integer, got {seed!r}")
    try:
        return SamplingConfig(steps=steps, cfg_scale=cfg_scale)
    except ValueError as error:
        raise SiTokError(f"decode: {error}") from error
