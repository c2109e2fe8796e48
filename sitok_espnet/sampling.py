"""What a caller of `SiTok.decode` asks of the decoder, checked, and what a packed model brings for the rest."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.decoder.abs_decoder import SamplingConfig

INFERENCE = "inference_conf"  # of a packed model's configuration: its own defaults
PACKED = ("steps", "temperature")  # what may be in it


def sampling_options(
    steps: int | None, cfg_scale: float, seed: int, temperature: float | None = None
) -> SamplingConfig:
    """Checked options of decoding; SiTokError names the bad one."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise SiTokError(f"seed must be a non-negative integer, got {seed!r}")
    try:
        return SamplingConfig(steps=steps, cfg_scale=cfg_scale, temperature=temperature)
    except ValueError as error:
        raise SiTokError(f"decode: {error}") from error


def packed_sampling(config: Mapping[str, Any]) -> SamplingConfig:
    """The defaults in a model's configuration; SiTokError for what they cannot be."""
    found = config.get(INFERENCE) or {}
    if not isinstance(found, Mapping) or set(found) - set(PACKED):
        raise SiTokError(f"{INFERENCE} in config.yaml may have {' and '.join(PACKED)}, not {found!r}")
    try:
        return SamplingConfig(**found)
    except ValueError as error:
        raise SiTokError(f"{INFERENCE} in config.yaml: {error}") from error


def with_defaults(asked: SamplingConfig, packed: SamplingConfig, iterative: bool) -> SamplingConfig:
    """What a decoder is told: what was asked for, else the packed default, else the usual number.

    Of a decoder that does not iterate nothing is filled in: it refuses what was asked for.
    """
    if not iterative:
        return asked
    steps = packed.num_steps if asked.steps is None else asked.steps
    temperature = packed.noise_scale if asked.temperature is None else asked.temperature
    return replace(asked, steps=steps, temperature=temperature)
