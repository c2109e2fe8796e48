"""Quality and time against solver steps: numbers, comparisons, the page and the picture."""

import json

import matplotlib.image
import numpy as np
import pytest
import torch
from experiment_dir import make_model_dir, refine_model_dir
from matplotlib.figure import Figure
from speech_generator import write_corpus, write_other_text
from tiny import TINY

from sitok_espnet import SiTok
from sitok_espnet.audio import read_audio, write_audio
from sitok_espnet.bin import sitok_step_curve
from sitok_espnet.bin.sitok_step_curve import model_name
from sitok_espnet.evaluate.metrics import Measurement, Sample
from sitok_espnet.evaluate.metrics.mel_distance import MelDistance
from sitok_espnet.evaluate.step_curve import Curve, Point, as_written, curve_results
from sitok_espnet.evaluate.step_page import draw_step_panel, step_panels
from sitok_espnet.inputs import read_scp

STEPS = [1, 2, 4]


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("data"), 3, words=(2, 3))


@pytest.fixture(scope="module")
def refined(tmp_path_factory, tiny_model_dir):
    return refine_model_dir(tiny_model_dir, tmp_path_factory.mktemp("exp") / "sitok_refined")


def draw(models, data_dir, out, *options, steps=STEPS):
    words = [word for model in models for word in ("--model", model)]
    words += ["--data_dir", data_dir, "--output_dir", out, "--resamples", 50, "--vocoder_conf", "iterations=2"]
    return sitok_step_curve.main([*map(str, words), "--steps", *map(str, steps), *options])


@pytest.fixture(scope="module")
def drawn(tmp_path_factory, tiny_model_dir, refined, data_dir):
    out = tmp_path_factory.mktemp("steps")
    assert draw([tiny_model_dir, refined / "valid.loss.best.pth"], data_dir, out) == 0
    return out


def results_of(out):
    return json.loads((out / "steps.json").read_text())


def test_every_model_at_every_number_of_steps(drawn, tiny_model_dir, refined):
    results = results_of(drawn)
    assert [(row["model"], row["steps"]) for row in results["rows"]] == [
        (name, steps) for name in ("exp", "refined") for steps in STEPS
    ]
    for row in results["rows"]:
        for cell in (*row["metrics"].values(), row["time_ratio"], row["real_time_factor"]):
            assert cell["count"] == 3 and cell["low"] <= cell["value"] <= cell["high"]
    assert results["models"]["exp"]["codes_hash"] == results["models"]["refined"]["codes_hash"]
    assert results["models"]["exp"]["model_hash"] != results["models"]["refined"]["model_hash"]


def test_distances_are_those_of_decoding_by_hand(drawn, refined, data_dir):
    tokenizer = SiTok.from_pretrained(refined, vocoder_conf={"iterations": 2})
    metric, total, frames = MelDistance(), 0.0, 0.0
    for item in read_scp(data_dir / "wav.scp"):
        wav = item.read()[0]
        copy = as_written(tokenizer.resynthesize([wav], 24000, steps=2)[0])
        measured = metric.measure(Sample(item.utt, wav, copy, 24000))
        total, frames = total + measured.numerator, frames + measured.denominator
    (row,) = (row for row in results_of(drawn)["rows"] if (row["model"], row["steps"]) == ("refined", 2))
    assert row["metrics"]["mel"]["value"] == pytest.approx(total / frames, rel=1e-6)


def test_differences_are_at_equal_steps(drawn):
    results = results_of(drawn)
    value = {(row["model"], row["steps"]): row["metrics"] for row in results["rows"]}
    assert [(pair["first"], pair["second"]) for pair in results["differences"]] == [
        tuple({"model": name, "steps": steps, "temperature": 1.0} for name in ("refined", "exp")) for steps in STEPS
    ]
    for pair in results["differences"]:
        for name, sign in (("mel", -1), ("stoi", 1)):
            cell = pair["metrics"][name]
            steps = pair["first"]["steps"]
            by_hand = value["refined", steps][name]["value"] - value["exp", steps][name]["value"]
            assert cell["value"] == pytest.approx(by_hand, abs=1e-9)
            assert cell["first_is_better"] == (sign * by_hand > 0)


def curve_of(seconds: dict[Point, list[float]], values: dict[Point, list[float]]) -> Curve:
    """A curve with two utterances of 2 and 4 seconds; the metric is a mean over frames, 100 and 200 of them."""
    metrics = {
        point: {"mel": {utt: Measurement(v * n, n) for utt, v, n in zip("ab", pair, (100, 200), strict=True)}}
        for point, pair in values.items()
    }
    times = {point: dict(zip("ab", pair, strict=True)) for point, pair in seconds.items()}
    return Curve(list(seconds), metrics, {"mel": metrics[next(iter(values))]["mel"]}, times, {"a": 2.0, "b": 4.0})


def test_times_are_ratios_to_the_first_model_at_its_most_steps():
    points = [Point("base", 1), Point("base", 16), Point("fast", 1), Point("fast", 16)]
    seconds = dict(zip(points, ([0.1, 0.3], [1.0, 3.0], [0.2, 0.2], [2.0, 6.0]), strict=True))
    curve = curve_of(seconds, dict.fromkeys(points, [0.5, 0.25]))
    results = curve_results(curve, {"mel": MelDistance()}, 100, 0)
    assert results["time_reference"] == {"model": "base", "steps": 16, "temperature": 1.0}
    ratios = [row["time_ratio"]["value"] for row in results["rows"]]
    assert ratios == pytest.approx([0.1, 1.0, 0.1, 2.0])
    assert [row["real_time_factor"]["value"] for row in results["rows"]] == pytest.approx(
        [s / 6 for s in (0.4, 4, 0.4, 8)]
    )
    same = results["rows"][1]["time_ratio"]
    assert same["low"] == same["high"] == 1.0
    assert results["rows"][0]["metrics"]["mel"]["value"] == pytest.approx((0.5 * 100 + 0.25 * 200) / 300)


def test_a_first_model_without_steps_is_compared_with_all():
    points = [Point("regression", 0), Point("diffusion", 1), Point("diffusion", 4)]
    values = dict(zip(points, ([1.0, 1.0], [1.5, 1.5], [0.5, 0.5]), strict=True))
    results = curve_results(curve_of(dict.fromkeys(points, [1.0, 1.0]), values), {"mel": MelDistance()}, 100, 0)
    assert [pair["first"]["steps"] for pair in results["differences"]] == [1, 4]
    assert all(pair["second"]["steps"] is None for pair in results["differences"])
    cells = [pair["metrics"]["mel"] for pair in results["differences"]]
    assert [cell["value"] for cell in cells] == pytest.approx([0.5, -0.5])
    assert [cell["first_is_better"] for cell in cells] == [False, True]
    assert results["rows"][0]["steps"] is None


def test_utterances_that_cannot_be_measured_leave_a_dash(drawn):
    points = [Point("base", 1), Point("refined", 1)]
    curve = curve_of(dict.fromkeys(points, [1.0, 1.0]), dict.fromkeys(points, [float("nan")] * 2))
    results = curve_results(curve, {"mel": MelDistance()}, 100, 0)
    assert results["rows"][0]["metrics"]["mel"] is None and results["differences"][0]["metrics"]["mel"] is None
    from sitok_espnet.evaluate.step_page import plot_steps, render_steps

    whole = results_of(drawn) | results
    page = render_steps(whole)
    assert (
        "| base | 1 | 1 | - | 1.000 [1.000, 1.000] |" in page
        and "| refined - base | 1 | mel distance | - | - | - |" in page
    )
    plot_steps(whole, drawn / "dashes.png")
    assert (drawn / "dashes.png").is_file()


def test_page_and_picture(drawn):
    page, results = (drawn / "STEPS.md").read_text(), results_of(drawn)
    row = results["rows"][4]
    cell = row["metrics"]["stoi"]
    assert f"| refined | 2 | 1 | {row['metrics']['mel']['value']:.3f} [" in page
    assert f"{cell['value']:.3f} [{cell['low']:.3f}, {cell['high']:.3f}]" in page
    assert "divided by that of exp at 4 steps" in page and "| copy synthesis | - | - |" in page
    assert "| original |" not in page  # both metrics compare with it
    assert "`python3 -m sitok_espnet.bin.sitok_step_curve --model" in page
    picture = matplotlib.image.imread(drawn / "steps.png")[..., :3]
    assert picture.shape[1] > 1000
    for colour in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00)):  # both models are on it
        near = np.abs(picture - np.array(colour) / 255).max(axis=2) < 0.02
        assert near.sum() > 200


def test_every_temperature_is_a_line_compared_with_the_first(tiny_model_dir, refined, data_dir, tmp_path):
    options = ["--temperatures", "1", "0", "0.5", "1", "--metrics", "mel"]
    assert draw([tiny_model_dir, refined], data_dir, tmp_path, *options, steps=[1, 2]) == 0
    results = results_of(tmp_path)
    points = [(row["model"], row["temperature"], row["steps"]) for row in results["rows"]]
    assert points == [(name, tau, n) for name in ("exp", "refined") for tau in (1, 0, 0.5) for n in (1, 2)]
    value = dict(zip(points, (row["metrics"]["mel"]["value"] for row in results["rows"]), strict=True))
    tokenizer, total, frames = SiTok.from_pretrained(refined, vocoder_conf={"iterations": 2}), 0.0, 0.0
    for item in read_scp(data_dir / "wav.scp"):
        wav = item.read()[0]
        copy = as_written(tokenizer.resynthesize([wav], 24000, steps=2, temperature=0.5)[0])
        measured = MelDistance().measure(Sample(item.utt, wav, copy, 24000))
        total, frames = total + measured.numerator, frames + measured.denominator
    assert value["refined", 0.5, 2] == pytest.approx(total / frames, rel=1e-6)
    sides = [tuple(tuple(pair[side].values()) for side in ("first", "second")) for pair in results["differences"]]
    own = [(("exp", n, tau), ("exp", n, 1.0)) for tau in (0, 0.5) for n in (1, 2)]
    assert sides == own + [(("refined", n, tau), ("exp", n, tau)) for tau in (1, 0, 0.5) for n in (1, 2)]
    for pair, (first, second) in zip(results["differences"], sides, strict=True):
        by_hand = value[first[0], first[2], first[1]] - value[second[0], second[2], second[1]]
        assert pair["metrics"]["mel"]["value"] == pytest.approx(by_hand, abs=1e-9)
    assert results["time_reference"] == {"model": "exp", "steps": 2, "temperature": 1.0}
    page = (tmp_path / "STEPS.md").read_text()
    assert "| exp, temperature 0.5 - exp, temperature 1 | 2 | mel distance |" in page
    assert "| refined | 2 | 0.5 | " in page and "or its first temperature at the same steps" in page
    axis = Figure().subplots()
    draw_step_panel(axis, results, step_panels(results)[0])
    labels = [f"{name}, temperature {tau}" for name in ("exp", "refined") for tau in ("1", "0", "0.5")]
    assert axis.get_legend_handles_labels()[1] == ["copy synthesis", *labels]
    assert len({(line[0].get_color(), line[0].get_marker()) for line in axis.containers}) == 6


def test_nothing_is_measured_twice_with_a_cache(tiny_model_dir, data_dir, tmp_path, monkeypatch):
    observe, heard = MelDistance.observe, []
    monkeypatch.setattr(MelDistance, "observe", lambda self, sample: heard.append(sample) or observe(self, sample))
    cache = ["--metrics", "mel", "--cache", str(tmp_path / "scores.jsonl")]
    assert draw([tiny_model_dir], data_dir, tmp_path / "a", *cache, steps=[1]) == 0
    assert len(heard) == 3 * 2  # a point and copy synthesis
    assert draw([tiny_model_dir], data_dir, tmp_path / "b", *cache, steps=[1, 2]) == 0
    assert len(heard) == 3 * 3
    assert draw([tiny_model_dir], data_dir, tmp_path / "c", "--metrics", "mel", steps=[1, 2]) == 0
    assert len(heard) == 3 * 6
    first, again, without = (results_of(tmp_path / name) for name in "abc")
    assert [row["metrics"] for row in again["rows"]] == [row["metrics"] for row in without["rows"]]
    assert first["rows"][0]["metrics"] == again["rows"][0]["metrics"] and again["ceiling"] == without["ceiling"]


def test_recognised_words_are_optional(tiny_model_dir, data_dir, tmp_path):
    assert (
        draw(
            [tiny_model_dir],
            data_dir,
            tmp_path,
            "--metrics",
            "mel",
            "wer",
            "--train_text",
            str(write_other_text(data_dir)),
            steps=[1],
        )
        == 0
    )
    results = results_of(tmp_path)
    assert list(results["metrics"]) == ["mel", "wer"] and results["differences"] == []
    assert results["rows"][0]["metrics"]["wer"]["count"] == 3
    # What the recogniser makes of the recordings themselves.
    assert list(results["original"]) == ["wer"] and results["original"]["wer"]["count"] == 3
    assert (
        f"| original | - | - | - | {results['original']['wer']['value']:.3f} [" in (tmp_path / "STEPS.md").read_text()
    )


def test_a_regression_decoder_is_one_row(tmp_path, data_dir, tiny_model_dir):
    sizes = {key: TINY["decoder_conf"][key] for key in ("num_layers", "hidden_size", "intermediate_size", "num_heads")}
    model = make_model_dir(tmp_path / "sitok_regression", decoder="regression", decoder_conf=sizes)
    assert draw([model], data_dir, tmp_path / "out") == 0
    assert [(row["model"], row["steps"]) for row in results_of(tmp_path / "out")["rows"]] == [("regression", None)]


def test_audio_is_scored_as_a_file_gives_it_back(tmp_path):
    wav = np.linspace(-1.2, 1.2, 4001, dtype=np.float32)
    write_audio(tmp_path / "x.wav", wav, 24000)
    np.testing.assert_array_equal(as_written(wav), read_audio(tmp_path / "x.wav")[0])


def test_names(tmp_path):
    assert model_name("exp/sitok_mini_bpe256") == model_name("exp/sitok_mini_bpe256/packed") == "mini_bpe256"
    assert model_name("exp/other/30epoch.pth") == "other"


def test_models_with_other_tokens_are_refused(tiny_model_dir, refined, data_dir, tmp_path, capsys):
    other = refine_model_dir(refined, tmp_path / "other")
    state = torch.load(other / "valid.loss.best.pth", weights_only=True)
    state["encoder.stack.final_norm.gain"] *= 1.001
    torch.save(state, other / "valid.loss.best.pth")
    assert draw([tiny_model_dir, other], data_dir, tmp_path / "out") == 2
    assert "has other tokens" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("twice", "options", "message"),
    [
        (True, [], "another model is called exp too"),
        (False, ["--steps", "0"], "steps must be a whole number of at least 1"),
        (False, ["--temperatures", "1", "2.5"], "temperature must be a number from 0 to 2"),
        (False, ["--resamples", "0"], "--resamples must be at least 1"),
        (False, ["--data_dir", "nowhere"], "no such wav.scp"),
        (False, ["--metrics", "taste"], "unknown metric 'taste'"),
    ],
)
def test_bad_requests(tiny_model_dir, data_dir, tmp_path, capsys, twice, options, message):
    assert draw([tiny_model_dir] * (2 if twice else 1), data_dir, tmp_path / "out", *options) == 2
    assert message in capsys.readouterr().err
