"""The parts of the vocoder's training: segments, losses against their formulas, warm-up, shipped configurations."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from speech_generator import speech
from vocos_dir import TINY_VOCOS, tiny_vocos

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.mel.config import MelConfig
from sitok_espnet.sitok.mel.log_mel import LogMel
from sitok_espnet.vocoder.gan_model import build_gan_model
from sitok_espnet.vocoder.segments import SegmentCutter
from sitok_espnet.vocoder.vocos_losses import MultiScaleMelLoss, VocosDiscriminators

SHIPPED = sorted(Path(__file__).parents[2].glob("conf/vocoder/*.yaml"))
CONFIG = MelConfig()


def log_mel(wav):
    wav = torch.as_tensor(wav)
    return LogMel()(wav[None], torch.tensor([len(wav)]))[0][0]


def cut(wav, samples=4800, random=False, rank=0):
    return SegmentCutter(CONFIG, samples, random, rank)("utt", {"speech": wav})["speech"]


@pytest.fixture
def batch():
    """(2, 4800 + 2 x 960) segments with their context."""
    return torch.from_numpy(np.stack([cut(speech(0.6, seed=s)) for s in (1, 2)]))


# ---- segments


def test_mel_of_a_segment_is_the_mel_of_the_utterance_there():
    wav = speech(1.0, seed=3)[: 480 * 40]  # the middle of 40 frames is frame 15
    piece = cut(wav)
    assert piece.shape == (4800 + 2 * 960,)
    np.testing.assert_array_equal(piece[960:-960], wav[480 * 15 : 480 * 25])
    torch.testing.assert_close(log_mel(piece)[2:-2], log_mel(wav)[15:25], atol=1e-5, rtol=0)


def test_segment_at_the_edge_is_surrounded_by_zeros():
    wav = speech(0.3, seed=3)[:6000]
    piece = cut(wav, 4800)
    np.testing.assert_array_equal(piece, np.concatenate([np.zeros(360), wav, np.zeros(360)]).astype(np.float32))
    short = cut(wav[:1000], 4800)
    np.testing.assert_array_equal(short, np.concatenate([np.zeros(960), wav[:1000], np.zeros(4760)]).astype("f4"))


def test_random_segments_follow_numpys_seed_and_the_rank():
    wav = np.arange(20000, dtype=np.float32) + 1

    def starts(seed, rank=0):
        np.random.seed(seed)
        return [int(cut(wav, 480, random=True, rank=rank)[960]) - 1 for _ in range(50)]

    assert starts(1) == starts(1) != starts(2)
    assert sum(here == there for here, there in zip(starts(1), starts(1, rank=1), strict=True)) < 5
    assert min(starts(1)) < 2000 and max(starts(1)) > 17000 and max(starts(1)) <= 20000 - 480


def test_bad_segments():
    with pytest.raises(SiTokError, match="1000 samples.*480.*segment_samples"):
        SegmentCutter(CONFIG, 1000, random=True)
    with pytest.raises(SiTokError, match="utterance utt: expected one channel"):
        cut(np.zeros((100, 2), dtype=np.float32))


# ---- losses


def test_mel_distance_is_the_mean_over_scales():
    fake, real = (torch.from_numpy(speech(0.3, seed=s)[:4800])[None] for s in (1, 2))
    loss = MultiScaleMelLoss(24000, [[512, 40], [1024, 80]])
    expected = []
    for window, bins in ((512, 40), (1024, 80)):
        mel = LogMel(24000, window, window, window // 4, bins, floor=1e-9)
        expected.append((mel(fake, torch.tensor([4800]))[0] - mel(real, torch.tensor([4800]))[0]).abs().mean())
    torch.testing.assert_close(loss(fake, real), sum(expected) / 2)
    assert loss(real, real) == 0 and not loss.state_dict()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_mel_distance_hears_what_is_far_too_quiet(path):
    """White noise at -60 dB is far below the filters' share of the mel's own floor; the distance must still pull."""
    torch.manual_seed(0)
    real, fake = 1e-3 * torch.randn(1, 4800), (1e-7 * torch.randn(1, 4800)).requires_grad_()
    loss = MultiScaleMelLoss(24000, yaml.safe_load(path.read_text())["model_conf"]["mel_scales"])(fake, real)
    (gradient,) = torch.autograd.grad(loss, fake)
    assert loss > 4 and (gradient != 0).float().mean() > 0.99
    assert (gradient * fake).sum() < 0  # louder is better


def test_gan_losses_are_hinge_losses_averaged_within_a_kind():
    torch.manual_seed(0)
    networks = VocosDiscriminators(periods=(2, 3), fft_sizes=(256,), mrd_channels=4, mrd_weight=0.25)
    fake, real = torch.randn(2, 1, 2400) * 0.1
    judged, teach = networks.judge(fake, real), networks.teach(fake, real)
    expected = [0.0, 0.0, 0.0]
    for kind, weight in ((networks.periods, 1.0), (networks.resolutions, 0.25)):
        for network in kind:
            (true, true_maps), (false, false_maps) = network(real), network(fake)
            terms = (
                (1 - true).clamp(min=0).mean() + (1 + false).clamp(min=0).mean(),
                (1 - false).clamp(min=0).mean(),
                sum((a - b).abs().mean() for a, b in zip(true_maps, false_maps, strict=True)),
            )
            expected = [total + weight / len(kind) * term for total, term in zip(expected, terms, strict=True)]
    for made, wanted in zip((judged, *teach), expected, strict=True):
        torch.testing.assert_close(made, wanted)


def test_each_turn_moves_its_own_network(batch):
    model = tiny_vocos().train()
    model(speech=batch, forward_generator=False)["loss"].backward()
    assert all(p.grad is not None for p in model.discriminators.parameters())
    assert all(p.grad is None for p in model.generator.parameters())
    model.zero_grad()
    turn = model(speech=batch)
    turn["loss"].backward()
    assert turn["optim_idx"] == 0 and turn["weight"].item() == 2
    assert all(p.grad is not None for p in model.generator.parameters())
    assert all(p.grad is None and p.requires_grad for p in model.discriminators.parameters())


def test_generator_loss_is_the_same_with_and_without_what_the_other_turn_made(batch):
    first, second = tiny_vocos().train(), tiny_vocos().train()
    first(speech=batch, forward_generator=False)
    losses = [model(speech=batch)["loss"] for model in (first, second)]
    assert torch.equal(*losses)
    # Left over from another batch: made anew.
    first(speech=batch.flip(0) * 0.5, forward_generator=False)
    assert torch.equal(*(model(speech=batch)["loss"] for model in (first, second)))


def test_total_is_the_weighted_sum(batch):
    turn = tiny_vocos().train()(speech=batch)
    stats = turn["stats"]
    expected = 10 * stats["mel_loss"] + stats["adversarial_loss"] + stats["feature_loss"]
    torch.testing.assert_close(turn["loss"], expected)


def test_warm_up_leaves_the_discriminators_alone(batch):
    model = tiny_vocos(model_conf={**TINY_VOCOS["model_conf"], "discriminator_start_step": 2}).train()
    optimizer = torch.optim.AdamW(model.discriminators.parameters(), lr=0.1, weight_decay=0.5)
    before = {k: v.clone() for k, v in model.discriminators.state_dict().items()}
    active = []
    for _ in range(3):
        turn = model(speech=batch, forward_generator=False)
        turn["loss"].backward()
        optimizer.step()
        same = all(torch.equal(v, before[k]) for k, v in model.discriminators.state_dict().items())
        active.append((turn["stats"]["adversarial"].item(), same))
        optimizer.zero_grad()
        assert ("adversarial_loss" in model(speech=batch)["stats"]) == (turn["stats"]["adversarial"] == 1)
    assert active == [(0.0, True), (0.0, True), (1.0, False)]
    assert model.state_dict()["generator_steps"] == 3  # resuming goes on counting


def test_validation_is_the_mel_distance_of_the_copy(batch):
    model = tiny_vocos().eval()
    with torch.no_grad():
        stats = model(speech=batch)["stats"]
        other = model(speech=batch, forward_generator=False)["stats"]
        distances = []
        for row in batch:
            made = model.generator(log_mel(row)[None, 2:-2])[0]
            distances.append((log_mel(made) - log_mel(row[960:-960])).abs().mean())
    assert stats["mel_l1"].item() == pytest.approx(sum(distances).item() / 2, rel=1e-5)
    assert not set(stats) & set(other) and model.generator_steps == 0
    assert stats["selection"] == stats["mel_l1"]
    waiting = tiny_vocos(model_conf={**TINY_VOCOS["model_conf"], "discriminator_start_step": 1}).eval()
    with torch.no_grad():
        early = waiting(speech=batch)["stats"]
    assert early["mel_l1"] == stats["mel_l1"] and early["selection"] == stats["mel_l1"] + 100
    with torch.no_grad():
        assert model(speech=batch)["stats"] == stats


# ---- configurations


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_configuration_builds(path):
    config = yaml.safe_load(path.read_text())
    with torch.device("meta"):
        model = build_gan_model(config)
    conf, generator = config["generator_conf"], model.generator
    d, wide = conf["dim"], conf["intermediate_dim"]
    block = 7 * d + d + 2 * d + (d * wide + wide) + (wide * d + d) + d
    expected = 7 * 128 * d + d + 2 * d + conf["num_layers"] * block + 2 * d + (d + 1) * 1922
    assert sum(p.numel() for p in generator.parameters()) == expected
    for samples in (config["segment_samples"], config["valid_segment_samples"]):
        SegmentCutter(CONFIG, samples, random=False)


def test_both_configurations_are_shipped():
    assert {path.stem for path in SHIPPED} >= {"vocos", "vocos_mini"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_conf": {"mel_weigth": 1}}, "model_conf has unknown keys: mel_weigth; legal keys are mel_weight"),
        ({"discriminator_conf": {"size": 1}}, "discriminator_conf has unknown keys: size; legal keys are periods"),
        ({"discriminator_conf": {"periods": [], "fft_sizes": []}}, "both empty"),
        ({"discriminator_conf": {"periods": [0]}}, "at least 1"),
        ({"generator_conf": {"dim": 0}}, "dim must be a whole number of at least 1"),
        ({"model_conf": {"mel_scales": []}}, "at least one pair"),
        ({"model_conf": {"mel_scales": [[1023, 80]]}}, "windows in eights"),
        ({"feats_extract_conf": {"win_length": 480}}, "greater than its hop_length"),
    ],
)
def test_bad_configurations_name_the_option(changes, message):
    with pytest.raises(SiTokError, match=message):
        tiny_vocos(**changes)
