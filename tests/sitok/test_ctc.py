"""CTC wiring: against an enumeration of alignments, masks, counts, greedy decoding."""

import itertools
import math

import pytest
import torch

from sitok_espnet.sitok.ctc.llama import LlamaCTC
from sitok_espnet.sitok.ctc.objective import ctc_loss, greedy, required_positions


def collapse(path):
    merged = [p for i, p in enumerate(path) if i == 0 or p != path[i - 1]]
    return [p for p in merged if p != 0]


def enumerated(logits, labels):
    """-log of the summed probability of all paths that collapse to the labels."""
    probabilities = logits.softmax(-1)
    total = 0.0
    for path in itertools.product(range(logits.size(1)), repeat=logits.size(0)):
        if collapse(path) == labels:
            total += math.prod(probabilities[t, p].item() for t, p in enumerate(path))
    return -math.log(total)


def test_loss_is_the_per_label_mean_over_usable_utterances():
    torch.manual_seed(0)
    logits = torch.randn(4, 5, 3)
    lengths = torch.tensor([5, 4, 5, 3])
    # Two usable ones (the second has a repetition), one without text, one that needs 4 positions and has 3.
    text = torch.tensor([[1, 2, -1], [2, 2, -1], [-1, -1, -1], [1, 1, 2]])
    text_lengths = torch.tensor([2, 2, 0, 3])
    result = ctc_loss(logits, lengths, text, text_lengths)
    expected = (enumerated(logits[0], [1, 2]) / 2 + enumerated(logits[1, :4], [2, 2]) / 2) / 2
    assert result.loss.item() == pytest.approx(expected, rel=1e-5)
    assert (result.used, result.without_text, result.infeasible) == (2, 1, 1)


def test_required_positions_counts_repetitions_within_the_text_only():
    text = torch.tensor([[1, 1, 1, 2], [1, 2, 2, 2], [3, 3, -1, -1]])
    assert required_positions(text, torch.tensor([4, 2, 2])).tolist() == [6, 2, 3]


@pytest.mark.parametrize("text, text_lengths", [(None, None), (torch.zeros(2, 0).long(), torch.zeros(2).long())])
def test_batches_without_text_touch_the_branch_with_zero_gradients(text, text_lengths):
    branch = LlamaCTC(8, 1, 4, 5, num_layers=1, intermediate_size=8, num_heads=2)
    result = ctc_loss(branch(torch.randn(2, 4, 8), torch.randn(2, 4, 1, 4)), torch.tensor([4, 4]), text, text_lengths)
    result.loss.backward()
    assert result.loss == 0 and result.used == 0 and result.without_text == 2
    assert all(p.grad is not None and not p.grad.any() for p in branch.parameters())


def test_greedy_collapses_repeats_and_drops_blanks_and_padding():
    best = torch.tensor([[0, 1, 1, 0, 1, 2], [2, 2, 0, 0, 1, 1]])
    logits = torch.nn.functional.one_hot(best, 3).float()
    assert greedy(logits, torch.tensor([6, 4])) == [[1, 1, 2], [2]]
