"""How the next code is drawn from the scores of the language model (ours; each option is the field's usual one)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sitok_espnet.errors import SiTokError

FIRST = 256  # of how many best codes top_p is tried first


@dataclass(frozen=True)
class TokenSampling:
    """Options of generation.

    Temperature, top_k, top_p and the repetition penalty choose among codes. Whether speech ends is a decision of its
    own (``draw_end``).

    Attributes:
        temperature: scores are divided by it; 0 takes the best.
        top_k: of how many best codes to draw; None draws of all.
        top_p: draw of the fewest best codes that have this share of the probability (Holtzman et al. 2020).
        repetition_penalty: of codes that this codebook has had since the prompt; 1 is off. Keskar et al. (2019) divide
            a score by it where positive, and multiply where negative. Here that is done to scores minus their mean
            (over what may be drawn), so that it is the same for logits, log probabilities and guided scores, which
            differ by a constant: of log probabilities as they are, the best one, near 0, would go unpenalised.
        cfg_scale: weight w of guidance by the text, log p = log p_text + w (log p_text - log p_null) among codes, and
            the same for the log odds of the end; 0 is off.
        min_frames: the end is not drawn before so many frames.
        max_frames: generation is stopped there, and reported as run-away.
        max_length_ratio: it is also stopped after so many times the frames that the target takes at the prompt's
            speaking rate (which is the length itself in F5-TTS, Chen et al. 2024); None, or no prompt: it is not.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    cfg_scale: float = 0.0
    min_frames: int = 1
    max_frames: int = 500
    max_length_ratio: float | None = None

    def __post_init__(self) -> None:
        limits = {
            "temperature": self.temperature >= 0,
            "top_k": self.top_k is None or self.top_k >= 1,
            "top_p": 0 < self.top_p <= 1,
            "repetition_penalty": self.repetition_penalty > 0,
            "cfg_scale": self.cfg_scale >= 0,
            "min_frames": self.min_frames >= 0,
            "max_frames": self.max_frames >= max(self.min_frames, 1),
            "max_length_ratio": self.max_length_ratio is None or 0 < self.max_length_ratio < float("inf"),
        }
        for name, good in limits.items():
            if not good:
                raise SiTokError(f"{name} of generation cannot be {getattr(self, name)}")


def draw(scores: Tensor, had: Sequence[int], options: TokenSampling, generator: np.random.Generator) -> int:
    """Index of one of C codes.

    Args:
        scores: (C,) log probabilities or logits, -inf for what may not be drawn.
        had: indices drawn before, for the repetition penalty.
        options: see TokenSampling.
        generator: one uniform number is taken from it, whatever the options (none at temperature 0), so that the
            numbers of later draws do not depend on earlier ones.
    """
    scores = scores.detach().double().cpu()
    if options.repetition_penalty != 1 and had:
        past = torch.tensor(sorted(set(had)))
        scores = scores - scores[scores.isfinite()].mean()
        kept = scores[past]
        factor = options.repetition_penalty
        scores[past] = torch.where(kept > 0, kept / factor, kept * factor)
    if options.temperature == 0:
        return int(scores.argmax())
    number = generator.random()
    probabilities, order = _best((scores / options.temperature).softmax(0), options)
    cumulative = probabilities.cumsum(0)
    chosen = int(torch.searchsorted(cumulative, number * float(cumulative[-1]), right=True))
    return int(order[min(chosen, len(order) - 1)])


def draw_end(log_probabilities: Tensor, end: int, options: TokenSampling, generator: np.random.Generator) -> bool:
    """Whether speech ends here: with its own probability, whatever is done to those of the codes (ours).

    Sharper codes would make the end one that is hardly ever drawn, or that is drawn too early: codes have thousands of
    choices and a flat distribution, the end is one of them.

    Args:
        log_probabilities: (C,) of codes and the end.
        end: the index of the end.
        options: at temperature 0 it ends where the end is the best of the C.
        generator: one uniform number is taken from it (none at temperature 0), as in ``draw``.
    """
    if options.temperature == 0:
        return int(log_probabilities.argmax()) == end
    return generator.random() < float(log_probabilities[end].exp())


def _best(probabilities: Tensor, options: TokenSampling) -> tuple[Tensor, Tensor]:
    """Of (C,) probabilities those that may be drawn, all above 0, and their indices; no more are sorted than needed."""
    limit = min(options.top_k or len(probabilities), len(probabilities))
    if limit == len(probabilities) and options.top_p == 1:
        order = probabilities.nonzero()[:, 0]
        return probabilities[order], order
    count = limit if options.top_k else min(FIRST, limit)
    while True:
        best, order = probabilities.topk(count)
        total = best.sum() if options.top_k else probabilities.sum()
        if count == limit or best.sum() >= options.top_p * total:
            break
        count = min(4 * count, limit)
    kept = (best > 0) & (best.cumsum(0) - best < options.top_p * total if options.top_p < 1 else True)
    return best[kept], order[kept]
