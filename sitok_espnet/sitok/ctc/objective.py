"""CTC loss and greedy decoding with the conventions of DESIGN section 8."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sitok_espnet.nn.masks import valid_mask
from sitok_espnet.sitok.ctc.abs_ctc import BLANK


@dataclass(frozen=True)
class CTCLoss:
    """loss: scalar, per-label mean averaged over the used utterances; the counts are utterances.

    used: with text that fits. without_text: empty or no transcript. infeasible: more labels than positions can carry.
    """

    loss: Tensor
    used: Tensor
    without_text: Tensor
    infeasible: Tensor


def required_positions(text: Tensor, text_lengths: Tensor) -> Tensor:
    """Positions CTC needs: labels plus one blank for every immediate repetition. text (B, L) -> (B,)."""
    valid = valid_mask(text_lengths, text.size(1))
    repeats = ((text[:, 1:] == text[:, :-1]) & valid[:, 1:]).sum(dim=1)
    return text_lengths + repeats


def ctc_loss(logits: Tensor, lengths: Tensor, text: Tensor | None, text_lengths: Tensor | None) -> CTCLoss:
    """Loss of logits (B, T, V) for text (B, L), padded with any value; PAPER section 2, ``CTC(D_ctc(z_q), y)``.

    Utterances without text or with more labels than fit are masked and counted. The branch is always part of the
    graph (``0 * logits.sum()``), because DDP wants every parameter to have a gradient.
    """
    untouched = 0.0 * logits.sum()
    batch = logits.size(0)
    zero = lengths.new_zeros(())
    if text is None or text.size(1) == 0:
        return CTCLoss(untouched, zero, zero + batch, zero)
    has_text = text_lengths > 0
    fits = required_positions(text, text_lengths) <= lengths
    used = has_text & fits
    infeasible = (has_text & ~fits).sum()
    if not used.any():
        return CTCLoss(untouched, zero, (~has_text).sum(), infeasible)
    log_probs = F.log_softmax(logits[used].float(), dim=-1).transpose(0, 1)
    targets = text[used].masked_fill(~valid_mask(text_lengths[used], text.size(1)), BLANK)
    losses = F.ctc_loss(log_probs, targets, lengths[used], text_lengths[used], blank=BLANK, reduction="none")
    return CTCLoss((losses / text_lengths[used]).mean() + untouched, used.sum(), (~has_text).sum(), infeasible)


def greedy(logits: Tensor, lengths: Tensor) -> list[list[int]]:
    """Best path of (B, T, V): repeats collapsed, blanks removed."""
    paths = []
    for best, length in zip(logits.argmax(dim=-1).cpu(), lengths.tolist(), strict=True):
        pieces = torch.unique_consecutive(best[:length])
        paths.append([p for p in pieces.tolist() if p != BLANK])
    return paths
