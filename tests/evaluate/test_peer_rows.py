"""Peers in an evaluation directory: rows, rates, comparisons, the rate/quality figure."""

import json
import shutil

import numpy as np
import pytest
from speech_generator import write_corpus

from sitok_espnet.bin import sitok_score, sitok_synth_systems
from sitok_espnet.evaluate import peer_rows
from sitok_espnet.evaluate.peers import PEERS, AbsPeer, Coded
from sitok_espnet.evaluate.peers_table import rate_text
from sitok_espnet.evaluate.rate_plot import draw_rate_quality, rate_quality
from sitok_espnet.inputs import read_scp

LEVELS = {"3": 3, "6": 6}


class Rounding(AbsPeer):
    """Samples in a few bits each, every third one: a codec whose size and error are known."""

    codec, title, examples, rate_source = "rounding", "Rounding", ("3",), "measured bytes / seconds"
    version, weights, inner_rate = "1", "package", 8000
    made: list[str] = []

    def __init__(self, setting, directory=None, device="cpu"):
        super().__init__(setting, directory, device)
        self.nominal = 8000.0 * LEVELS[setting]

    @classmethod
    def key_of(cls, setting):
        if setting not in LEVELS:
            raise cls.refuse(setting, "expected 3 or 6")
        return setting

    def encode(self, wav):
        self.made.append(self.setting)
        return Coded(np.round(wav[::3] * 2 ** (LEVELS[self.setting] - 1)), LEVELS[self.setting] * len(wav[::3]))

    def decode(self, payload, samples):
        return np.repeat(payload / 2 ** (LEVELS[self.setting] - 1), 3)[:samples].astype(np.float32)


class Untrained(Rounding):
    """The same without weights."""

    codec, title, rate_source, weights = "untrained", "Untrained", "frame rate x log2 sizes", "random"
    note = "random weights: put them into DIR/untrained"


class Missing(Rounding):
    """A codec whose program is not here."""

    codec, title = "missing", "Missing"

    def __init__(self, *arguments):
        from sitok_espnet.evaluate.peers import PeerUnavailable

        raise PeerUnavailable("no program: install it")


NAMES = ["rounding:3", "rounding:6", "untrained:3", "missing:3"]
ROWS = ["peer_rounding_3", "peer_rounding_6", "peer_untrained_3", "peer_missing_3"]


@pytest.fixture(scope="module")
def _codecs():
    with pytest.MonkeyPatch.context() as patch:
        for codec in (Rounding, Untrained, Missing):
            patch.setitem(PEERS, codec.codec, codec)
        patch.setattr(peer_rows, "SPEED_ONLY", 2)
        yield


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("data"), 4, words=(2, 3))


@pytest.fixture(scope="module")
def synthesize(data_dir, tiny_model_dir):
    def run(eval_dir, *options):
        words = ["--model", tiny_model_dir, "--data_dir", data_dir, "--output_dir", eval_dir, "--steps", 1]
        words += ["--vocoder", "griffin_lim", "--vocoder_conf", "iterations=2", "--systems", "original"]
        return sitok_synth_systems.main(
            [str(word) for word in [*words, "reconstruction", "reconstruction_cfg", *options]]
        )

    return run


@pytest.fixture(scope="module")
def synthesized(tmp_path_factory, synthesize, _codecs):
    eval_dir = tmp_path_factory.mktemp("eval")
    assert synthesize(eval_dir, "--peers", *NAMES) == 0
    return eval_dir


def score(eval_dir, data_dir, *options):
    words = ["--eval_dir", eval_dir, "--data_dir", data_dir, "--nj", 1, "--resamples", 100, "--spectrograms", 0]
    assert sitok_score.main([str(word) for word in [*words, "--metrics", "mel", *options]]) == 0
    return json.loads((eval_dir / "results.json").read_text()), (eval_dir / "RESULTS.md").read_text()


@pytest.fixture(scope="module")
def scored(synthesized, data_dir):
    return score(synthesized, data_dir)


def test_rows_stand_after_the_reconstructions(scored):
    rows = list(scored[0]["systems"])
    assert rows.index("reconstruction_cfg") + 1 == rows.index(ROWS[0])
    assert rows[rows.index(ROWS[0]) :][:4] == ROWS and "mean_mel" in rows[rows.index(ROWS[-1]) :]


def test_audio_is_what_the_codec_makes(synthesized, data_dir):
    for before, after in zip(
        read_scp(data_dir / "wav.scp"), read_scp(synthesized / "peer_rounding_6/wav.scp"), strict=True
    ):
        expected, _ = Rounding("6")(before.read()[0])
        np.testing.assert_allclose(after.read()[0], expected, atol=1 / 32768)


def test_rates(scored, synthesized, data_dir):
    systems = scored[0]["systems"]
    lengths = [len(item.read()[0]) for item in read_scp(data_dir / "wav.scp")]
    bits = sum(6 * -(-length // 3) for length in lengths)
    rate = systems["peer_rounding_6"]["rate"]
    assert rate["bits_per_second"] == rate["measured"] == pytest.approx(bits / (sum(lengths) / 24000))
    assert rate["nominal"] == 48000 and rate["source"] == "measured bytes / seconds"
    assert systems["peer_untrained_3"]["rate"]["bits_per_second"] == 24000  # by the formula, not by few utterances
    for row in ("reconstruction", "reconstruction_cfg"):
        own = {"bits_per_second": 12.5 * 6, "nominal": None, "source": "frame rate x log2 sizes"}
        assert systems[row]["rate"] == own and systems[row]["about"] is None
    for row in ("original", "copy_synthesis", "mean_mel", "other_tokens", "untrained", "peer_missing_3"):
        assert systems[row]["rate"] is None, row
    peer = json.loads((synthesized / "peer_rounding_6/peer.json").read_text())
    assert {utt: round(item["audio"] * 24000) for utt, item in peer["utterances"].items()} == {
        item.utt: length for item, length in zip(read_scp(data_dir / "wav.scp"), lengths, strict=True)
    }


def test_about_and_speed(scored):
    systems = scored[0]["systems"]
    about = systems["peer_rounding_3"]["about"]
    assert about == {"name": "Rounding, 3", "version": "1", "weights": "package", "note": ""}
    speed = systems["peer_rounding_3"]["speed"]
    assert 0 < speed["encode"]["low"] <= speed["encode"]["value"] <= speed["encode"]["high"]
    assert speed["decode"]["count"] == 4 and speed["device"] == "cpu"


def test_random_weights_give_a_speed_and_no_quality(scored, synthesized):
    results, page = scored
    row = results["systems"]["peer_untrained_3"]
    cell = {"status": "not run", "reason": peer_rows.NO_QUALITY}
    assert row["status"] == "not run" and row["metrics"]["mel"] == cell
    assert row["about"]["weights"] == "random" and row["speed"]["encode"]["count"] == 2
    assert not (synthesized / "peer_untrained_3/wav.scp").exists()
    assert "| Untrained, 3 | 24,000 | not run: random weights: speed only" in page
    assert "| random weights: put them into DIR/untrained |" in page


def test_a_missing_program_is_named(scored):
    results, page = scored
    row = results["systems"]["peer_missing_3"]
    assert row["status"] == "not run" and row["about"] is None and row["reason"] == "no program: install it"
    assert "| Missing, 3 | - | not run: no program: install it |" in page


def test_page(scored):
    _, page = scored
    assert "| system | bit/s | mel distance ↓ |" in page and "| reconstruction | 75 | " in page
    line = next(line for line in page.splitlines() if line.startswith("| Rounding, 6 | 1 | package | "))
    assert "(nominal 48,000)" in line or "| 48,000 |" in line
    assert "## Other codecs" in page and "resampling included" in page


def test_comparisons(scored):
    pairs = {pair["second"]: pair for pair in scored[0]["comparisons"]}
    assert pairs["peer_rounding_6"]["first"] == "reconstruction" and "peer_untrained_3" not in pairs
    cell = pairs["peer_rounding_6"]["metrics"]["mel"]
    values = [scored[0]["systems"][row]["metrics"]["mel"]["value"] for row in ("reconstruction", "peer_rounding_6")]
    assert cell["value"] == pytest.approx(values[0] - values[1])
    assert pairs["peer_missing_3"]["metrics"]["mel"]["status"] == "not run"
    assert "| reconstruction - Rounding, 6 | mel distance |" in scored[1]


def test_rate_quality(scored, synthesized):
    data = json.loads((synthesized / "rate_quality.json").read_text())
    assert data == json.loads(json.dumps(rate_quality(scored[0])))
    card = data["metrics"]["mel"]
    assert set(card["families"]) == {"SiTok", "Rounding"} and card["original"] is None
    points = card["families"]["Rounding"]
    assert [point["row"] for point in points] == ["peer_rounding_3", "peer_rounding_6"]
    for point in points:
        cell = scored[0]["systems"][point["row"]]["metrics"]["mel"]
        assert {key: point[key] for key in ("value", "low", "high")} == {k: cell[k] for k in ("value", "low", "high")}
    from PIL import Image

    with Image.open(synthesized / "rate_quality.png") as picture:
        assert picture.width >= 400 and len(np.unique(np.asarray(picture.convert("L")))) > 50


def test_many_metrics_have_a_panel_each(scored, tmp_path):
    from PIL import Image

    one = rate_quality(scored[0])
    four = {"metrics": {f"mel{n}": one["metrics"]["mel"] | {"original": 0.5} for n in range(4)}}
    draw_rate_quality(one, tmp_path / "one.png")
    draw_rate_quality(four, tmp_path / "four.png")
    with Image.open(tmp_path / "one.png") as small, Image.open(tmp_path / "four.png") as large:
        assert large.width > 2 * small.width and large.height > 1.5 * small.height


@pytest.fixture
def copied(synthesized, scored, tmp_path):
    return shutil.copytree(synthesized, tmp_path / "eval")


def test_finished_rows_are_kept_and_others_made(copied, data_dir, synthesize, monkeypatch, _codecs):
    monkeypatch.setattr(Rounding, "made", made := [])
    assert synthesize(copied, "--peers", *NAMES) == 0
    assert made == []
    monkeypatch.setattr(Rounding, "version", "2")
    results, _ = score(copied, data_dir)
    assert results["systems"]["peer_rounding_3"]["status"] == "measured"
    assert synthesize(copied, "--peers", "rounding:6", "untrained:3") == 0
    assert made.count("6") == 5  # a warm-up, four utterances
    assert made.count("3") == 3  # a warm-up, two utterances
    results, page = score(copied, data_dir)
    assert [row for row in results["systems"] if row.startswith("peer_")] == ["peer_rounding_6", "peer_untrained_3"]
    assert results["systems"]["peer_rounding_6"]["about"]["version"] == "2"
    results, page = score(copied, data_dir, "--systems", "original", "peer_rounding_3")
    assert "does not say how it should have been made" in results["systems"]["peer_rounding_3"]["reason"]


def test_stale_peer_rows_say_how_to_make_them(copied, data_dir):
    shutil.rmtree(copied / "peer_rounding_3")
    results, _ = score(copied, data_dir)
    reason = "not synthesized (sitok_synth_systems --peers rounding:3)"
    assert results["systems"]["peer_rounding_3"]["reason"] == reason


def test_without_peers_nothing_is_added(copied, data_dir, synthesize):
    assert synthesize(copied) == 0
    results, page = score(copied, data_dir)
    assert not any(row.startswith("peer_") for row in results["systems"]) and "## Other codecs" not in page


@pytest.mark.parametrize(
    "names, message",
    [
        (["rounding:5"], "peer rounding:5: expected 3 or 6"),
        (["nothing:1"], "unknown peer 'nothing:1'"),
        (["rounding:3", "rounding:3"], "--peers names rounding:3 twice"),
    ],
)
def test_bad_names(tmp_path, synthesize, capsys, names, message, _codecs):
    assert synthesize(tmp_path, "--peers", *names) == 2
    assert message in capsys.readouterr().err


def test_rates_in_words():
    rate = {"bits_per_second": 5876.2, "nominal": 6000.0}
    assert rate_text(rate) == "5,876 (nominal 6,000)" and rate_text(None) == "-"
    assert rate_text({"bits_per_second": 124.9999, "nominal": None}) == "125"
    assert rate_text({"bits_per_second": 1500.0, "nominal": 1500.0}) == "1,500"
