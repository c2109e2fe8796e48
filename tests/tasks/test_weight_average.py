"""The moving average of the decoder's weights: its formula, what is saved, resuming."""

import copy

import pytest
import torch
import yaml
from test_sitok_task import config, corpus, train  # noqa: F401 (fixtures)

from sitok_espnet.errors import SiTokError
from sitok_espnet.tasks.deepspeed import disagreements
from sitok_espnet.tasks.weight_average import WeightAverage


def linear_with_average(decay=0.5, lr=0.1):
    torch.manual_seed(0)
    module = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(module.parameters(), lr=lr)
    return module, optimizer, WeightAverage(optimizer, [module.weight], decay)


def step(module, optimizer):
    optimizer.zero_grad()
    module(torch.ones(1, 3)).square().sum().backward()
    optimizer.step()


def test_average_against_a_loop_and_that_the_weights_come_back():
    module, optimizer, average = linear_with_average(decay=0.3)
    expected = None
    for n in range(8):
        step(module, optimizer)
        decay = min(0.3, (1 + n) / (10 + n))
        weight = module.weight.detach().clone()
        expected = weight if expected is None else decay * expected + (1 - decay) * weight
    trained, bias = module.weight.detach().clone(), module.bias.detach().clone()
    average.put(True)
    torch.testing.assert_close(module.weight, expected)
    assert not torch.equal(module.weight, trained) and torch.equal(module.bias, bias)
    average.put(True)  # nothing happens twice
    torch.testing.assert_close(module.weight, expected)
    average.put(False)
    assert torch.equal(module.weight, trained)


def test_averaged_weights_are_not_trained_by_mistake():
    module, optimizer, average = linear_with_average()
    step(module, optimizer)
    average.put(True)
    with pytest.raises(RuntimeError, match="swap"):
        step(module, optimizer)


def test_a_training_with_averages_is_not_resumed_without():
    module, optimizer, average = linear_with_average()
    step(module, optimizer)
    average.put(True)
    other = torch.optim.AdamW(copy.deepcopy(module).parameters(), lr=0.1)
    assert WeightAverage.of(other) is None
    other.load_state_dict(optimizer.state_dict())
    with pytest.raises(SiTokError, match="resume it with the --weight_average_decay"):
        WeightAverage.of(other)


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.1, float("nan"), True, "0.9"])
def test_bad_decays_are_refused(decay):
    with pytest.raises(SiTokError, match="--weight_average_decay must be a number between 0 and 1"):
        linear_with_average(decay)


def test_deepspeed_is_told_that_it_has_no_averages():
    found = disagreements({}, {"weight_average_decay": 0.999})
    assert any("weight_average_decay is set" in text for text in found)


def test_training_saves_the_average_and_resumes_with_the_weights(config, corpus, tmp_path):  # noqa: F811
    """Same losses and same files as without a break; only the decoder differs from a training without averages."""
    plain = train(config, corpus, tmp_path / "plain", "--max_epoch", 2)
    content = yaml.safe_load(config.read_text()) | {"weight_average_decay": 0.9}
    config.write_text(yaml.safe_dump(content))
    whole = train(config, corpus, tmp_path / "whole", "--max_epoch", 2)
    train(config, corpus, tmp_path / "cut", "--max_epoch", 1)
    resumed = train(config, corpus, tmp_path / "cut", "--max_epoch", 2, "--resume", "true")
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)
    differs = {key for key in whole if not torch.equal(whole[key], plain[key])}
    assert differs and all(key.startswith("decoder.") for key in differs)
