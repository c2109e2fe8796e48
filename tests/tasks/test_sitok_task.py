"""SiTokTask on ESPnet's trainer: command line against YAML, freezing, resuming, accumulation, optional text."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from tiny import TINY, tiny_config

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.slots import SLOTS
from sitok_espnet.tasks.sitok import SiTokTask

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path):
    """tiny.yaml for the trainer, without a token list."""
    content = {k: v for k, v in tiny_config(ctc=None, ctc_conf={}).items() if k != "token_list"}
    content |= {
        "batch_type": "unsorted",
        "batch_size": 4,
        "max_epoch": 2,
        "num_workers": 0,
        "seed": 3,
        "optim": "adamw",
        "optim_conf": {"lr": 1.0e-3},
        "scheduler": "warmuplr",
        "scheduler_conf": {"warmup_steps": 5},
        "grad_clip": 0.5,
        "use_matplotlib": False,
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    lines = []
    for number in range(8):
        path = directory / f"u{number}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(6000 + 700 * number), 24000, subtype="PCM_16")
        lines.append(f"u{number} {path}")
    (directory / "wav.scp").write_text("\n".join(lines) + "\n")
    (directory / "shape").write_text("".join(f"u{n} {6000 + 700 * n}\n" for n in range(8)))
    (directory / "text").write_text("".join(f"u{n} {'a b' if n % 2 else ''}".rstrip() + "\n" for n in range(8)))
    (directory / "tokens.txt").write_text("\n".join(TINY["token_list"]) + "\n")
    return directory


def parse(*command):
    return SiTokTask.get_parser().parse_args([str(c) for c in command])


def train(config, corpus, output, *more):
    data = f"{corpus}/wav.scp,speech,sound"
    SiTokTask.main(
        cmd=[
            *("--config", str(config), "--output_dir", str(output), "--ngpu", "0", "--use_tensorboard", "false"),
            *("--train_data_path_and_name_and_type", data, "--train_shape_file", f"{corpus}/shape"),
            *("--valid_data_path_and_name_and_type", data, "--valid_shape_file", f"{corpus}/shape"),
            *map(str, more),
        ]
    )
    return torch.load(output / "latest.pth", weights_only=True)


def test_every_slot_is_on_the_command_line():
    args = parse()
    for name, slot in SLOTS.items():
        assert getattr(args, name) == slot.default and getattr(args, f"{name}_conf") == {}


def test_command_line_keys_refine_the_yaml_of_the_same_class(config):
    args = parse("--config", config, "--encoder_conf", "num_layers=5", "--encoder", "llama")
    assert args.encoder_conf == {**TINY["encoder_conf"], "num_layers": 5}


def test_changed_class_drops_the_yaml_keys_of_the_old_one(config, capsys, monkeypatch):
    import sitok_espnet.tasks.sitok as module
    from sitok_espnet.tasks.slot_arguments import slot_choices

    monkeypatch.setitem(SLOTS["quantizer"].choices, "toy", SLOTS["quantizer"].choices["ema_vq"])
    monkeypatch.setattr(module.SiTokTask, "class_choices_list", slot_choices())
    args = parse("--config", config, "--quantizer", "toy", "--quantizer_conf", "codebook_dim=3")
    assert args.quantizer_conf == {"codebook_dim": 3}
    assert args.encoder_conf == TINY["encoder_conf"]
    assert "its quantizer_conf is dropped" in capsys.readouterr().err


def test_changed_scheduler_drops_the_yaml_keys_of_the_old_one(config):
    content = yaml.safe_load(config.read_text()) | {"scheduler": "warmuplr", "scheduler_conf": {"warmup_steps": 5}}
    config.write_text(yaml.safe_dump(content))
    assert parse("--config", config, "--scheduler_conf", "warmup_steps=6").scheduler_conf == {"warmup_steps": 6}
    changed = ("--scheduler", "piecewiselinearwarmuplr", "--scheduler_conf", "warmup_lr_list=[0.0,0.5,0.0]")
    assert parse("--config", config, *changed).scheduler_conf == {"warmup_lr_list": [0.0, 0.5, 0.0]}


def test_ctc_can_be_switched_off_from_the_command_line(config):
    content = yaml.safe_load(config.read_text()) | {"ctc": "llama", "ctc_conf": TINY["ctc_conf"]}
    config.write_text(yaml.safe_dump(content))
    for word in ("null", "none"):
        args = parse("--config", config, "--ctc", word)
        assert args.ctc is None and args.ctc_conf == {}


def test_options_of_the_normalisation_survive_that_stage_5_switches_it_on():
    mini = ROOT / "egs2/mini_asterisk/sitok1/conf/train_sitok_mini.yaml"
    args = parse("--config", mini, "--normalize", "global_mvn", "--normalize_conf", "stats_file=x.npz")
    assert args.normalize_conf == {"eps": 1.0, "stats_file": "x.npz"}


@pytest.mark.parametrize(
    "name", ["mini_asterisk/sitok1/conf/train_sitok_mini", "piper/sitok1/conf/train_sitok_joe_12hz"]
)
def test_dry_run_of_the_small_configurations(name, corpus, tmp_path):
    config = ROOT / f"egs2/{name}.yaml"
    SiTokTask.main(
        cmd=[
            *("--config", str(config), "--dry_run", "true", "--output_dir", str(tmp_path), "--ngpu", "0"),
            *("--token_list", str(corpus / "tokens.txt"), "--token_type", "word"),
        ]
    )
    saved = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert saved["token_list"] == TINY["token_list"] and saved["encoder_conf"]["hidden_size"] == 256
    assert not list(tmp_path.glob("*.pth"))


def test_augmentation_is_for_training_only_and_off_by_default(config, corpus):
    assert SiTokTask.build_preprocess_fn(parse("--config", config), train=True) is None
    changed = ("--config", config, "--augment_conf", "gain: {minimum_db: -20, maximum_db: -20}")
    wav = np.full(100, 0.5, dtype=np.float32)
    args = parse(*changed)
    assert SiTokTask.build_preprocess_fn(args, train=False) is None  # validation and statistics
    out = SiTokTask.build_preprocess_fn(args, train=True)("u", {"speech": wav})
    np.testing.assert_allclose(out["speech"], 0.05, rtol=1e-6)
    args = parse(*changed, "--token_list", corpus / "tokens.txt", "--token_type", "word")
    out = SiTokTask.build_preprocess_fn(args, train=True)("u", {"speech": wav, "text": "a b"})
    np.testing.assert_allclose(out["speech"], 0.05, rtol=1e-6)
    assert out["text"].dtype == np.int64 and len(out["text"]) == 2
    with pytest.raises(SiTokError, match="augment_conf has unknown keys: pitch"):
        SiTokTask.build_preprocess_fn(parse("--config", config, "--augment_conf", "pitch=1"), train=False)


def test_missing_token_list_names_the_stage(config):
    args = parse("--config", config, "--ctc", "llama", "--token_list", "nowhere/tokens.txt")
    with pytest.raises(SiTokError, match="nowhere/tokens.txt.*stage 3"):
        SiTokTask.build_model(args)


def test_training_moves_the_codebook_and_is_repeatable(config, corpus, tmp_path):
    first = train(config, corpus, tmp_path / "a")
    second = train(config, corpus, tmp_path / "b")
    assert first["quantizer.codebook.num_updates"] >= 1
    assert all(torch.equal(first[k], second[k]) for k in first)


def losses(log):
    return [line.split("loss_decoder=")[1].split(",")[0] for line in log if "epoch results" in line]


def test_resume_at_an_epoch_boundary_repeats_the_uninterrupted_run(config, corpus, tmp_path, caplog):
    caplog.set_level("INFO")
    # With augmentation in a data worker: its draws must come back, too.
    more = {"augment_conf": {"speed": {}, "equalizer": {}, "gain": {}}, "num_workers": 1}
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | more))
    whole = train(config, corpus, tmp_path / "whole", "--max_epoch", 3)
    whole_losses = losses(caplog.messages)
    caplog.clear()
    train(config, corpus, tmp_path / "cut", "--max_epoch", 1)
    resumed = train(config, corpus, tmp_path / "cut", "--max_epoch", 3, "--resume", "true")
    assert losses(caplog.messages) == whole_losses and len(whole_losses) == 3
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)


def test_frozen_encoder_and_quantizer_stay_bit_identical(config, corpus, tmp_path):
    start = train(config, corpus, tmp_path / "start")
    tuned = train(
        config, corpus, tmp_path / "tuned",
        "--init_param", tmp_path / "start/latest.pth", "--freeze_param", "encoder", "quantizer",
    )  # fmt: skip
    moved = {k for k in start if not torch.equal(start[k], tuned[k])}
    assert moved and all(k.startswith("decoder.") for k in moved)


def test_accumulated_gradients_move_the_codebook_once_a_step(config, corpus, tmp_path):
    state = train(config, corpus, tmp_path / "a", "--batch_size", 2, "--accum_grad", 2, "--max_epoch", 2)
    # 8 utterances: 4 batches, 2 optimizer steps an epoch. The first updates fill the pool of 16 latents.
    assert 1 <= state["quantizer.codebook.num_updates"] <= 4
    usual = train(config, corpus, tmp_path / "b", "--batch_size", 4, "--max_epoch", 2)
    assert state["quantizer.codebook.num_updates"] == usual["quantizer.codebook.num_updates"]


def test_chain_of_codebooks_from_the_command_line_moves_once_a_step(config, corpus, tmp_path):
    state = train(
        config, corpus, tmp_path / "a", "--quantizer", "residual_vq", "--quantizer_conf", "codebook_size=[16, 8]",
        "--quantizer_conf", "num_codebooks=2", "--quantizer_conf", "codebook_dim=4",
        "--batch_size", 2, "--accum_grad", 2, "--max_epoch", 3,
    )  # fmt: skip
    # 3 epochs of 2 optimizer steps, each with at least 17 latents; the second codebook begins a step later.
    assert state["quantizer.codebooks.0.num_updates"] == 6 and state["quantizer.codebooks.1.num_updates"] == 5
    assert state["quantizer.codebooks.1.entries"].shape == (8, 4)
    saved = yaml.safe_load((tmp_path / "a/config.yaml").read_text())
    assert saved["quantizer_conf"] == {"codebook_size": [16, 8], "num_codebooks": 2, "codebook_dim": 4}


def test_utterances_without_transcript_train_beside_others(config, corpus, tmp_path):
    content = yaml.safe_load(config.read_text()) | {"ctc": "llama", "ctc_conf": TINY["ctc_conf"]}
    config.write_text(yaml.safe_dump(content))
    state = train(
        config, corpus, tmp_path / "a",
        "--train_data_path_and_name_and_type", f"{corpus}/text,text,text",
        "--token_list", corpus / "tokens.txt", "--token_type", "word",
    )  # fmt: skip
    assert all(v.isfinite().all() for v in state.values())
    saved = yaml.safe_load((tmp_path / "a/config.yaml").read_text())
    assert saved["token_list"] == TINY["token_list"]


def test_averaged_checkpoint_keeps_counters_and_mel_hash(config, corpus, tmp_path):
    state = train(config, corpus, tmp_path / "a", "--keep_nbest_models", 2)
    averages = list((tmp_path / "a").glob("valid.*.ave_2best.pth"))
    assert averages
    averaged = torch.load(averages[0], weights_only=True)
    assert torch.equal(averaged["feats_extract.mel_hash"], state["feats_extract.mel_hash"])
    assert all(v.is_floating_point() for v in averaged.values())


def test_statistics_are_those_of_the_frames(config, corpus, tmp_path):
    """Stage 4: sums over the F frames of every utterance, not over padding."""
    train_args = ["--config", config, "--output_dir", tmp_path / "s", "--collect_stats", "true"]
    data = f"{corpus}/wav.scp,speech,sound"
    for phase in ("train", "valid"):
        train_args += [f"--{phase}_data_path_and_name_and_type", data, f"--{phase}_shape_file", f"{corpus}/shape"]
    SiTokTask.main(cmd=[str(a) for a in train_args])
    model = SiTokTask.build_model(parse("--config", config))
    total, count = np.zeros(128), 0
    for number in range(8):
        wav, _ = soundfile.read(corpus / f"u{number}.wav", dtype="float32")
        feats, frames = model.feats_extract(torch.from_numpy(wav)[None], torch.tensor([len(wav)]))
        total += feats[0, : frames.item()].double().sum(0).numpy()
        count += frames.item()
    summed = np.load(tmp_path / "s/train/feats_stats.npz")
    assert summed["count"] == count and summed["sum"].dtype == summed["sum_square"].dtype == np.float64
    np.testing.assert_allclose(summed["sum"], total, rtol=1e-5)
