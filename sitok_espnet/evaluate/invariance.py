"""Do tokens depend on what they are computed with? (DESIGN section 6, promise 1)

The same waveforms are encoded alone, in sorted batches, in shuffled batches and with extra padding. Codes must be
identical; where one differs, it must be a proven near tie at the first codebook in which it differs: its two
candidates nearly equally far from what that codebook quantizes (``AbsQuantizer.is_near_tie``).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sitok_espnet.computing import exact_inference
from sitok_espnet.inference import SiTok

LATENT_TOLERANCE = 1e-5


@dataclass(frozen=True)
class InvarianceReport:
    """tokens: compared positions, summed over the ways. differing: with another code in any codebook.

    unproven: differing and no near tie.

    worst_latent: largest relative difference of pre-quantizer latents, ``|a - b| / |a|`` over the dimensions.
    """

    tokens: int
    differing: int
    unproven: int
    worst_latent: float

    @property
    def holds(self) -> bool:
        """The promise, for these waveforms and this model."""
        return self.unproven == 0 and self.worst_latent <= LATENT_TOLERANCE


def _encode(tokenizer: SiTok, batch: Sequence[np.ndarray], extra: int) -> tuple[list[Tensor], list[Tensor]]:
    """Latents (T, D) and codes (T, N) of a batch padded to its longest plus ``extra`` samples."""
    lengths = torch.tensor([len(wav) for wav in batch])
    speech = torch.zeros(len(batch), int(lengths.max()) + extra)
    for row, wav in enumerate(batch):
        speech[row, : len(wav)] = torch.from_numpy(wav)
    with exact_inference():
        latents, tokens = tokenizer.model.latents(speech.to(tokenizer.device), lengths.to(tokenizer.device))
        codes = tokenizer.model.quantizer.encode(latents)
    counts = tokens.tolist()
    rows = range(len(batch))
    return [latents[r, : counts[r]].cpu() for r in rows], [codes[r, : counts[r]].cpu() for r in rows]


def verify_tokens(
    tokenizer: SiTok, wavs: Sequence[np.ndarray], batch_size: int = 16, seed: int = 0
) -> InvarianceReport:
    """Compare every utterance alone with three ways of batching it.

    Args:
        tokenizer: a model with codes.
        wavs: float32 waveforms at its sample rate.
        batch_size: utterances a batch.
        seed: of the shuffling and the extra padding.
    """
    quantizer, device = tokenizer.model.quantizer, tokenizer.device
    rng = np.random.default_rng(seed)
    alone = [_encode(tokenizer, [wav], 0) for wav in wavs]
    by_length = np.argsort([len(wav) for wav in wavs], kind="stable")
    orders = [
        (by_length, 0),
        (rng.permutation(len(wavs)), 0),
        (rng.permutation(len(wavs)), int(rng.integers(1, 96000))),
    ]
    tokens = differing = unproven = 0
    worst = 0.0
    for order, extra in orders:
        for start in range(0, len(order), batch_size):
            members = order[start : start + batch_size]
            latents, codes = _encode(tokenizer, [wavs[i] for i in members], extra)
            for index, latent, code in zip(members, latents, codes, strict=True):
                (reference,), (expected,) = alone[index]
                tokens += len(code)
                relative = (latent - reference).norm(dim=1) / reference.norm(dim=1)
                worst = max(worst, relative.max().item())
                for position in (code != expected).any(dim=1).nonzero().flatten().tolist():
                    differing += 1
                    case = (reference[position], expected[position], code[position])
                    with exact_inference():
                        unproven += not quantizer.is_near_tie(*(part.to(device) for part in case))
    return InvarianceReport(tokens, differing, unproven, worst)
