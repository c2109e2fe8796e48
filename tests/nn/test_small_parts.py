"""Step embedding and stacking."""

import math

import pytest
import torch

from sitok_espnet.nn.stacking import stack_frames, unstack_frames
from sitok_espnet.nn.step_embedding import sinusoidal


def test_sinusoidal_formula():
    features = sinusoidal(torch.tensor([0.0, 0.3]), 8)
    for i in range(4):
        angle = 1000 * 0.3 * 10000 ** (-i / 4)
        assert features[1, i].item() == pytest.approx(math.cos(angle), abs=1e-4)
        assert features[1, 4 + i].item() == pytest.approx(math.sin(angle), abs=1e-4)
    assert features[0].tolist() == [1.0] * 4 + [0.0] * 4


def test_stacking_keeps_frames_in_order_and_inverts():
    mel = torch.arange(2 * 6 * 3).view(2, 6, 3).float()
    stacked = stack_frames(mel, 2)
    assert stacked.shape == (2, 3, 6)
    assert torch.equal(stacked[1, 2], torch.cat((mel[1, 4], mel[1, 5])))
    assert torch.equal(unstack_frames(stacked, 2), mel)
    with pytest.raises(ValueError, match="multiple"):
        stack_frames(mel, 4)
