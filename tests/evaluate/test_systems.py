"""What the systems do with tokens and mels, and that finished work is kept."""

import json

import numpy as np
import pytest
import soundfile
import torch
from experiment_dir import make_model_dir
from speech_generator import write_corpus

from sitok_espnet import SiTok
from sitok_espnet.bin import main as sitok
from sitok_espnet.bin import sitok_synth_systems
from sitok_espnet.checkpoint import CODE_SLOTS, pack
from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate import synthesis
from sitok_espnet.evaluate.earlier import EarlierModel
from sitok_espnet.evaluate.synthesis import ModelCard, synthesize
from sitok_espnet.evaluate.systems import GROUP_SIZE, SYSTEMS, SystemUnavailable, Workshop, assign_others, fit_length
from sitok_espnet.inputs import read_scp

CARD = ModelCard("default", "hash", "codes", "mel", "conf", 1, "25/2", (64,), "griffin_lim")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return read_scp(write_corpus(tmp_path_factory.mktemp("corpus"), 5, words=(1, 2)) / "wav.scp")


@pytest.fixture
def shop(inputs, tiny_tokenizer):
    return Workshop(inputs, tiny_tokenizer, lambda: tiny_tokenizer, steps=2)


@pytest.mark.parametrize("count", [2, 3, 4, 5, 8, 9, 41])
def test_others_are_a_permutation_among_similar_lengths(count):
    lengths = np.random.default_rng(count).permutation(np.arange(count) * 10).tolist()
    others = assign_others(lengths, seed=3)
    assert sorted(others) == list(range(count))
    assert all(here != there for here, there in enumerate(others))
    assert all(abs(lengths[here] - lengths[there]) <= 10 * GROUP_SIZE for here, there in enumerate(others))
    assert others == assign_others(lengths, seed=3)


def test_one_utterance_has_no_other():
    with pytest.raises(SystemUnavailable, match="two utterances"):
        assign_others([7], seed=0)


def test_tokens_are_cut_or_repeated():
    codes = np.array([[0], [1], [2]])
    assert fit_length(codes, 2).ravel().tolist() == [0, 1]
    assert fit_length(codes, 7).ravel().tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_every_system_keeps_the_length(shop):
    originals = [shop.read(item) for item in shop.inputs]
    for name, system in SYSTEMS.items():
        made = list(system(shop))
        assert [len(wav) for wav in made] == [len(wav) for wav in originals], name
        assert all(np.isfinite(wav).all() for wav in made), name


def test_systems_are_what_they_say(shop):
    tokenizer, item = shop.tokenizer, shop.inputs[1]
    wav = shop.read(item)
    codes = tokenizer.encode([wav], 24000)
    made = {name: list(system(shop))[1] for name, system in SYSTEMS.items()}
    np.testing.assert_array_equal(made["original"], wav)
    mel = tokenizer.log_mel(wav, 24000)
    np.testing.assert_array_equal(made["copy_synthesis"], tokenizer.vocode([mel], [len(wav)])[0])
    plain = tokenizer.decode(codes, steps=2, num_samples=[len(wav)])[0]
    np.testing.assert_allclose(made["reconstruction"], plain, atol=1e-5)
    guided = tokenizer.decode(codes, steps=2, cfg_scale=1.0, num_samples=[len(wav)])[0]
    np.testing.assert_allclose(made["reconstruction_cfg"], guided, atol=1e-5)
    assert np.abs(guided - plain).max() > 1e-3
    other = assign_others([len(shop.codes(each)) for each in shop.inputs], shop.seed)[1]
    foreign = fit_length(shop.codes(shop.inputs[other]), len(codes[0]))
    expected = tokenizer.decode([foreign], steps=2, num_samples=[len(wav)])[0]
    np.testing.assert_allclose(made["other_tokens"], expected, atol=1e-5)
    mean = tokenizer.model.normalize.mean.numpy()
    constant = tokenizer.vocode([np.tile(mean, (len(mel), 1))], [len(wav)])[0]
    np.testing.assert_array_equal(made["mean_mel"], constant)


def test_timing_covers_every_utterance(shop):
    list(SYSTEMS["reconstruction"](shop))
    assert shop.timings.keys() == {item.utt for item in shop.inputs}
    for item in shop.inputs:
        timing = shop.timings[item.utt]
        assert timing.audio == len(shop.read(item)) / 24000
        assert min(timing.encode, timing.decode, timing.vocoder) > 0


def test_written_files(shop, tmp_path):
    synthesize(shop, CARD, tmp_path, ["original", "reconstruction"])
    assert not (tmp_path / "untrained").exists()
    for item in read_scp(tmp_path / "reconstruction" / "wav.scp"):
        info = soundfile.info(item.location)
        assert (info.samplerate, info.channels, info.subtype) == (24000, 1, "PCM_16")
    # The reference as it is: not one sample changed by writing it again.
    for before, after in zip(shop.inputs, read_scp(tmp_path / "original" / "wav.scp"), strict=True):
        np.testing.assert_array_equal(before.read()[0], after.read()[0])
    tokens = json.loads((tmp_path / "tokens.json").read_text())
    assert {utt: np.array(codes).tolist() for utt, codes in tokens.items()} == {
        item.utt: shop.codes(item).tolist() for item in shop.inputs
    }
    assert len((tmp_path / "ctc_text").read_text().splitlines()) == len(shop.inputs)
    assert set(json.loads((tmp_path / "timing.json").read_text())["utterances"]) == set(tokens)


def test_finished_systems_are_kept_and_changed_ones_made_again(shop, tmp_path):
    synthesize(shop, CARD, tmp_path, ["copy_synthesis", "reconstruction"])
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/wav.scp")}
    synthesize(shop, CARD, tmp_path, ["copy_synthesis", "reconstruction"])
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    (tmp_path / "copy_synthesis" / "wav.scp").unlink()
    shop.steps = 1
    synthesize(shop, CARD, tmp_path, ["copy_synthesis", "reconstruction"])
    assert all(path.stat().st_mtime_ns != stamp for path, stamp in stamps.items())
    stamp = (tmp_path / "reconstruction" / "wav.scp").stat().st_mtime_ns
    shop.temperature = 1.0  # what it was without being asked for
    synthesize(shop, CARD, tmp_path, ["reconstruction"])
    assert (tmp_path / "reconstruction" / "wav.scp").stat().st_mtime_ns == stamp
    shop.temperature = 0.5
    synthesize(shop, CARD, tmp_path, ["reconstruction"])
    assert (tmp_path / "reconstruction" / "wav.scp").stat().st_mtime_ns != stamp
    made = json.loads((tmp_path / "reconstruction" / "settings.json").read_text())
    assert (made["steps"], made["temperature"]) == (1, 0.5)
    assert json.loads((tmp_path / "timing.json").read_text())["temperature"] == 0.5


def test_a_packed_default_is_taken_and_said(inputs, tiny_model_dir, tmp_path):
    """Rows are made with the model's own numbers where none are asked for, and again when these change."""
    data, made = tmp_path / "data", tmp_path / "made"
    data.mkdir()
    (data / "wav.scp").write_text("".join(f"{item.utt} {item.location}\n" for item in inputs[:1]))

    def settings(**defaults):
        packed = pack(tiny_model_dir, tmp_path / "packed", **defaults)
        words = f"--model {packed} --data_dir {data} --output_dir {made} --systems reconstruction"
        assert sitok_synth_systems.main([*words.split(), "--vocoder_conf", "iterations=1"]) == 0
        found = json.loads((made / "reconstruction" / "settings.json").read_text())
        return found["model_hash"], found["steps"], found["temperature"], found["cfg_scale"]

    first = settings(steps=2, temperature=0.5)
    assert first[1:] == (2, 0.5, 0.0) and settings(steps=3) == (first[0], 3, 1.0, 0.0)


def timed(directory):
    """Utterances with a measured time."""
    return len(json.loads((directory / "timing.json").read_text())["utterances"])


def test_a_kill_before_the_timing_is_written_does_not_lose_it(shop, tmp_path, monkeypatch):
    def killed(path, content):
        if path.name == "timing.json":
            raise KeyboardInterrupt
        write_json(path, content)

    write_json = synthesis.write_json
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(synthesis, "write_json", killed)
        synthesize(shop, CARD, tmp_path, ["reconstruction"])
    assert not (tmp_path / "reconstruction" / "wav.scp").exists()
    synthesize(shop, CARD, tmp_path, ["reconstruction"])
    assert timed(tmp_path) == len(shop.inputs)


def test_a_reconstruction_without_timing_is_not_finished(shop, tmp_path):
    synthesize(shop, CARD, tmp_path, ["reconstruction"])
    (tmp_path / "timing.json").unlink()
    synthesize(shop, CARD, tmp_path, ["reconstruction"])
    assert timed(tmp_path) == len(shop.inputs)


def test_another_number_of_threads_is_timed_again(shop, tmp_path, monkeypatch):
    systems = ["copy_synthesis", "reconstruction"]
    synthesize(shop, CARD, tmp_path, systems)
    stamps = {name: (tmp_path / name / "wav.scp").stat().st_mtime_ns for name in systems}
    monkeypatch.setattr(synthesis.torch, "get_num_threads", lambda: 64)
    synthesize(shop, CARD, tmp_path, systems)
    changed = {name for name in systems if (tmp_path / name / "wav.scp").stat().st_mtime_ns != stamps[name]}
    assert changed == {"reconstruction"}
    assert json.loads((tmp_path / "timing.json").read_text())["threads"] == 64
    settings = json.loads((tmp_path / "reconstruction" / "settings.json").read_text())
    assert (settings["device"], settings["threads"]) == ("cpu", 64)


def test_options_of_the_vocoder_reach_it_and_the_settings(inputs, tiny_model_dir, tmp_path):
    data, made = tmp_path / "data", tmp_path / "made"
    data.mkdir()
    (data / "wav.scp").write_text("".join(f"{item.utt} {item.location}\n" for item in inputs[:2]))
    words = f"--model {tiny_model_dir} --data_dir {data} --output_dir {made} --systems copy_synthesis".split()

    def synthesis_with(*options):
        assert sitok_synth_systems.main([*words, *options]) == 0
        conf = json.loads((made / "copy_synthesis" / "settings.json").read_text())["vocoder_conf"]
        assert json.loads((made / "tokenizer.json").read_text())["vocoder_conf"] == conf
        return conf, read_scp(made / "copy_synthesis" / "wav.scp")[0].read()[0]

    conf, one = synthesis_with("--vocoder_conf", "iterations=1")
    assert conf == {"iterations": 1}
    conf, three = synthesis_with("--vocoder_conf", "iterations=1", "--vocoder_conf", "iterations=3")
    assert conf == {"iterations": 3}
    assert np.abs(one - three).max() > 1e-3


@pytest.mark.parametrize("verb", ["decode", "resynth"])
def test_an_option_of_the_vocoder_is_one_word(verb):
    words = [verb, "-o", "out", "--vocoder_conf", "a=1", "--vocoder_conf", "b=2", "first", "second"]
    args = sitok.get_parser().parse_args(words)
    assert args.vocoder_conf == ["a=1", "b=2"]
    assert (args.tokens if verb == "decode" else args.inputs) == ["first", "second"]


def test_interrupted_system_does_not_look_finished(shop, tmp_path, monkeypatch):
    def breaks(shop):
        yield shop.read(shop.inputs[0])
        raise KeyboardInterrupt

    monkeypatch.setitem(SYSTEMS, "mean_mel", breaks)
    with pytest.raises(KeyboardInterrupt):
        synthesize(shop, CARD, tmp_path, ["mean_mel"])
    assert not (tmp_path / "mean_mel" / "wav.scp").exists()


def test_clipped_samples_are_counted(shop, tmp_path, monkeypatch):
    def loud(shop):
        for item in shop.inputs:
            yield 3.0 * shop.read(item)

    monkeypatch.setitem(SYSTEMS, "mean_mel", loud)
    synthesize(shop, CARD, tmp_path, ["mean_mel"])
    item = shop.inputs[0]
    counts = dict(line.split() for line in (tmp_path / "mean_mel" / "utt2clipped").read_text().splitlines())
    assert int(counts[item.utt]) == np.count_nonzero(np.abs(3.0 * shop.read(item)) > 1.0)


def test_unavailable_system_leaves_its_reason(inputs, tiny_tokenizer, tmp_path):
    synthesize(Workshop(inputs[:1], tiny_tokenizer, lambda: tiny_tokenizer, steps=1), CARD, tmp_path, ["other_tokens"])
    assert "two utterances" in (tmp_path / "other_tokens" / "not_run").read_text()
    assert not (tmp_path / "other_tokens" / "wav.scp").exists()


def test_bad_requests(inputs, tiny_tokenizer, tmp_path):
    shop = Workshop(inputs, tiny_tokenizer, lambda: tiny_tokenizer)
    with pytest.raises(SiTokError, match="unknown system 'orginal'.*copy_synthesis"):
        synthesize(shop, CARD, tmp_path, ["orginal"])
    other = read_scp(write_corpus(tmp_path / "slow", 1, sample_rate=16000) / "wav.scp")
    with pytest.raises(SiTokError, match="16000 Hz.*24000 Hz"):
        list(SYSTEMS["original"](Workshop(other, tiny_tokenizer, lambda: tiny_tokenizer)))


def test_a_refinement_of_another_kind_has_steps_of_its_own(inputs, tiny_model_dir, tiny_tokenizer, tmp_path):
    """The number asked for is kept for the decoders that have steps, before and after one that has none."""
    layers = {"num_layers": 1, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2}
    directory = make_model_dir(tmp_path / "exp", decoder="regression", decoder_conf=layers)
    path = directory / "valid.loss.best.pth"
    same = torch.load(tiny_model_dir / path.name, weights_only=True)
    state = torch.load(path, weights_only=True)
    torch.save({k: same[k] if k.split(".")[0] in CODE_SLOTS else v for k, v in state.items()}, path)
    one_pass = SiTok.from_pretrained(directory)
    shop = Workshop(inputs, one_pass, lambda: one_pass, steps=3)
    before = EarlierModel("diffusion", lambda: tiny_tokenizer).workshop(shop)
    after = EarlierModel("regression", lambda: one_pass).workshop(before)
    assert [each.sampling.steps for each in (shop, before, after)] == [None, 3, None]
    assert [each.sampling.temperature for each in (shop, before, after)] == [None, 1, None]


def test_a_decoder_of_one_pass_goes_through_with_the_usual_options(inputs, tmp_path):
    layers = {"num_layers": 1, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2}
    model, data, made = (
        make_model_dir(tmp_path / "exp", decoder="regression", decoder_conf=layers),
        tmp_path,
        tmp_path / "made",
    )
    (data / "wav.scp").write_text("".join(f"{item.utt} {item.location}\n" for item in inputs[:2]))
    words = (
        f"--model {model} --data_dir {data} --output_dir {made} --steps 16 --cfg_scale 1.0 --vocoder_conf iterations=1"
    )
    names = ["reconstruction", "reconstruction_cfg", "untrained", "other_tokens"]
    assert sitok_synth_systems.main([*words.split(), "--systems", *names]) == 0
    for name in names:
        assert (made / name / "wav.scp").exists() == (name != "reconstruction_cfg"), name
    assert "has no guidance" in (made / "reconstruction_cfg" / "not_run").read_text()
    assert json.loads((made / "timing.json").read_text())["steps"] is None
