"""DeepSpeed: configurations that say what the training YAML says, ESPnet's own DeepSpeed loop on a stand-in for the
engine, and the weights of its checkpoints. DeepSpeed itself need not be installed."""

import argparse
import copy
import json
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import yaml
from tiny import tiny_model

from sitok_espnet.bin import deepspeed_weights
from sitok_espnet.errors import SiTokError
from sitok_espnet.tasks.deepspeed import add_hooks, disagreements, prepare_for_deepspeed, read_deepspeed_config

ROOT = Path(__file__).parents[2]
ZERO2 = json.loads((ROOT / "conf/deepspeed/zero2.json").read_text())
XL = yaml.safe_load((ROOT / "conf/train_sitok_XL.yaml").read_text())


def test_every_configuration_fits_its_training():
    assert [path.name for path in sorted((ROOT / "conf/deepspeed").iterdir())] == ["zero2.json"]
    for name in ("XL", "L"):
        assert disagreements(ZERO2, yaml.safe_load((ROOT / f"conf/train_sitok_{name}.yaml").read_text())) == []
    assert ZERO2["zero_optimization"]["stage"] == 2
    # S warms up for another time: a file of its own would be needed.
    small = yaml.safe_load((ROOT / "conf/train_sitok_S.yaml").read_text())
    assert disagreements(ZERO2, small) == ["scheduler.params.warmup_num_steps is 32000, but warmup_steps is 10000"]


@pytest.mark.parametrize(
    "place, value, message",
    [
        ("gradient_clipping", 1.0, "gradient_clipping is 1.0, but grad_clip is 0.5"),
        ("gradient_accumulation_steps", 2, "gradient_accumulation_steps is 2"),
        ("train_batch_size", 64, "train_batch_size would fix the number of GPUs"),
        ("bf16", {"enabled": True}, "bf16 would turn audio, codebook and statistics into 16 bits"),
        ("fp16", {"enabled": False}, "fp16 would turn audio"),
        ("torch_autocast.enabled", False, "torch_autocast.enabled is False, but use_amp is True"),
        ("torch_autocast.dtype", "float16", "torch_autocast.dtype must be 'bfloat16'"),
        ("zero_optimization.stage", 3, "zero_optimization.stage 3 tears the weights apart"),
        ("optimizer.type", "Adam", r"optimizer.type is 'Adam', but optim \(adamw\) is 'AdamW'"),
        ("optimizer.params.lr", 1e-4, "optimizer.params.lr is 0.0001, but optim_conf.lr is 8e-05"),
        ("optimizer.params.betas", [0.9, 0.98], "optimizer.params.betas is .*0.98"),
        ("optimizer.params.weight_decay", 0.1, "optimizer.params.weight_decay is 0.1"),
        ("scheduler.params.warmup_max_lr", 1e-4, "scheduler.params.warmup_max_lr is 0.0001"),
    ],
)
def test_what_does_not_fit_is_said(place, value, message, tmp_path):
    config = copy.deepcopy(ZERO2)
    *above, last = place.split(".")
    part = config
    for key in above:
        part = part[key]
    part[last] = value
    (tmp_path / "ds.json").write_text(json.dumps(config))
    args = argparse.Namespace(use_deepspeed=True, deepspeed_config=str(tmp_path / "ds.json"), distributed=False, **XL)
    with pytest.raises(SiTokError, match=f"does not fit the training: {message}"):
        prepare_for_deepspeed(torch.nn.Linear(1, 1), args)


def test_defaults_of_the_optimizer_count():
    config, training = copy.deepcopy(ZERO2), copy.deepcopy(XL)
    del config["optimizer"]["params"]["weight_decay"], training["optim_conf"]["weight_decay"]
    assert disagreements(config, training) == []
    training["optim_conf"]["weight_decay"] = 0.1
    assert len(disagreements(config, training)) == 1


@pytest.mark.parametrize("content, message", [(None, "cannot be read"), ("{", "cannot be read"), ("[]", "no.* object")])
def test_unreadable_configurations(content, message, tmp_path):
    path = tmp_path / "ds.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SiTokError, match=message):
        read_deepspeed_config(path)
    with pytest.raises(SiTokError, match="needs --deepspeed_config"):
        read_deepspeed_config(None)


def test_without_the_option_nothing_is_done():
    model = torch.nn.Linear(1, 1)
    prepare_for_deepspeed(model, argparse.Namespace(use_deepspeed=False, deepspeed_config=None))
    assert not model._forward_hooks and not model._forward_pre_hooks


def batches(count: int) -> list:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.tensor([9600, 5000])
    text = {"text": torch.tensor([[2, 3], [3, 4]]), "text_lengths": torch.tensor([2, 2])}
    made = []
    for _ in range(count):
        speech = 0.1 * torch.randn(2, 9600, generator=generator)
        speech[1, 5000:] = 0
        made.append((["a", "b"], {"speech": speech, "speech_lengths": lengths, **text}))
    return made


def optimizer_of(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


class Engine:
    """What ESPnet asks of a DeepSpeed engine, with a torch optimizer behind it."""

    def __init__(self, model):
        self.model, self.optimizer = model, optimizer_of(model)
        self.train, self.eval = model.train, model.eval

    def __call__(self, **batch):
        return self.model(**batch)

    def backward(self, loss):
        self.optimizer.zero_grad()
        loss.backward()

    def step(self):
        self.optimizer.step()

    def get_global_grad_norm(self):
        return 0.0

    def loss_scale(self):
        return 1.0

    def get_lr(self):
        return [0.1]


@pytest.fixture
def process_group(tmp_path):
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_espnets_loop_trains_as_the_ordinary_one(process_group, tmp_path, monkeypatch):
    """The rule of ESPnet's ordinary trainer, written out, against its DeepSpeed trainer on a model with our hooks."""
    import espnet2.train.deepspeed_trainer as espnets
    from espnet2.train.reporter import Reporter

    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)
    monkeypatch.setattr(espnets, "to_device", lambda batch, *_, **__: batch)
    options = espnets.DeepSpeedTrainerOptions(
        resume=False, seed=0, train_dtype="float32", log_interval=None, output_dir=tmp_path, max_epoch=1,
        deepspeed_config="ds.json", best_model_criterion=[["valid", "loss", "min"]], keep_nbest_models=1,
    )  # fmt: skip

    def by_espnet(hooks: bool, steps: int = 4) -> dict:
        model, reporter = tiny_model(), Reporter()
        if hooks:
            add_hooks(model)
        reporter.set_epoch(1)
        torch.manual_seed(0)
        for observed, epoch in (("train", "train_one_epoch"), ("valid", "valid_one_epoch")):
            with reporter.observe(observed) as sub_reporter:
                data = batches(steps if observed == "train" else 1)
                getattr(espnets.DeepSpeedTrainer, epoch)(Engine(model), data, sub_reporter, options)
        assert reporter.get_value("valid", "loss") > 0
        return model.state_dict()

    model = tiny_model().train()
    optimizer = optimizer_of(model)
    torch.manual_seed(0)
    for ids, batch in batches(4):
        loss, _, _ = model(utt_id=ids, **batch)  # one process: the weight cancels
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        model.quantizer.update_codebook()
    expected, found = model.state_dict(), by_espnet(hooks=True)
    assert found.keys() == expected.keys() and expected["quantizer.codebook.num_updates"] > 1
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=1e-5, atol=1e-6, msg=lambda m, key=key: f"{key}: {m}")
    # What the hooks are for: without them no code ever moves, and the gradient is that of the loss over 20 + 11 frames.
    assert by_espnet(hooks=False)["quantizer.codebook.num_updates"] == 0
    start = tiny_model().state_dict()["encoder.input.weight"]
    moved, little = (by_espnet(hooks, steps=1)["encoder.input.weight"] - start for hooks in (True, False))
    assert moved.norm() > 1e-3
    torch.testing.assert_close(31 * little, moved, rtol=1e-3, atol=1e-5)


def checkpoint(folder: Path, epoch: int, losses: list[float], whole: bool = True) -> dict:
    """An epoch as DeepSpeed and ESPnet leave it; its weights."""
    from espnet2.train.reporter import Reporter

    reporter = Reporter()
    for number, loss in enumerate(losses, 1):
        reporter.set_epoch(number)
        with reporter.observe("valid") as sub_reporter:
            sub_reporter.register({"loss": torch.tensor(loss)})
            sub_reporter.next()
    states = folder / f"checkpoint_{epoch}/{epoch}"
    states.mkdir(parents=True)
    module = {"weight": torch.full((2,), float(epoch)) if whole else torch.empty(0)}
    kept = {"module": module, "reporter": reporter.state_dict(), "global_steps": 7}
    torch.save(kept, states / "mp_rank_00_model_states.pt")
    (states.parent / "latest").write_text(str(epoch))
    return module


def test_weights_of_the_best_epoch(tmp_path, capsys):
    (tmp_path / "config.yaml").write_text("best_model_criterion: [[valid, loss, min]]\n")
    losses = [3.0, 1.0, 2.0]
    for epoch in range(1, 4):
        checkpoint(tmp_path, epoch, losses[:epoch])
        assert deepspeed_weights.main([str(tmp_path)]) == 0
        best = torch.load(tmp_path / "valid.loss.best.pth", weights_only=True)
        assert best["weight"].tolist() == [float(min(epoch, 2))] * 2
    assert "valid.loss.best.pth -> 2epoch.pth" in capsys.readouterr().out
    # An epoch that was being written does not count.
    checkpoint(tmp_path, 4, [*losses, 0.1])
    (tmp_path / "checkpoint_4/latest").unlink()
    deepspeed_weights.main([str(tmp_path)])
    assert (tmp_path / "valid.loss.best.pth").resolve().name == "2epoch.pth"


def test_checkpoints_that_cannot_be_used(tmp_path, capsys):
    (tmp_path / "config.yaml").write_text("best_model_criterion: [[valid, accuracy, max]]\n")
    assert deepspeed_weights.main([str(tmp_path)]) == 2
    checkpoint(tmp_path, 1, [1.0])
    assert deepspeed_weights.main([str(tmp_path)]) == 2
    (tmp_path / "checkpoint_1/1/mp_rank_00_model_states.pt").write_bytes(b"cut")
    assert deepspeed_weights.main([str(tmp_path)]) == 2
    said = capsys.readouterr().err
    for message in ("no finished epoch", "valid accuracy was never measured", "not a readable checkpoint of DeepSpeed"):
        assert message in said
    checkpoint(tmp_path, 2, [1.0, 1.0], whole=False)
    with pytest.raises(SiTokError, match="only a part of the weights .ZeRO stage 3."):
        deepspeed_weights.read_states(tmp_path, 2)
    assert not list(tmp_path.glob("*.pth"))
