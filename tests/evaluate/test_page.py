"""The report page: what is collected, its numbers, words and pictures, escaping, and that it needs no other file."""

import base64
import hashlib
import io
import random
import re
import shutil
from html.parser import HTMLParser

import editdistance
import numpy as np
import pytest
import soundfile
from eval_dir import (
    SYSTEMS,
    TEXTS,
    UTTERANCES,
    make_eval_dir,
    make_scored_experiment,
    probes,
    results,
    write_json,
)
from PIL import Image
from speech_generator import speech

from sitok_espnet.bin.main import main
from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.page.audio import encode_audio
from sitok_espnet.evaluate.page.collect import collect
from sitok_espnet.evaluate.page.headline import headline, key_numbers, main_row
from sitok_espnet.evaluate.page.render import render_page
from sitok_espnet.evaluate.page.rows import table_rows
from sitok_espnet.evaluate.page.spectrogram import draw_spectrograms, time_ticks
from sitok_espnet.evaluate.page.training import Series, read_curves
from sitok_espnet.evaluate.page.view import comparison_table, listening, probe_table, score_table
from sitok_espnet.evaluate.page.words import INSERTED, LEFT_OUT, SAME, SUBSTITUTED, align_words

VOID = {"meta", "link", "img", "br", "input", "hr"}


class Document(HTMLParser):
    """Elements with their attributes, and the text that a reader sees."""

    def __init__(self, page: str):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.text, self.script, self.style = "", "", ""
        self.feed(page)
        assert self.open == [], "elements that are not closed"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        within = self.open[-1] if self.open else ""
        if within == "script":
            self.script += data
        elif within == "style":
            self.style += data
        else:
            self.text += " ".join(data.split()) + " "

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


def payload(uri: str) -> bytes:
    return base64.b64decode(uri.partition(",")[2])


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return make_scored_experiment(tmp_path_factory.mktemp("exp") / "sitok_tiny")


@pytest.fixture(scope="module")
def probe_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("probes")
    write_json(folder / "results.json", probes())
    return folder


@pytest.fixture(scope="module")
def page(experiment, probe_dir):
    return render_page(collect([experiment, probe_dir], 2))


@pytest.fixture(scope="module")
def document(page):
    return Document(page)


# ---- words ----


def test_marked_words():
    words = align_words("no directory entries match".split(), "the directory entries".split())
    assert [(word.kind, word.said, word.heard) for word in words] == [
        (SUBSTITUTED, "no", "the"),
        (SAME, "directory", "directory"),
        (SAME, "entries", "entries"),
        (LEFT_OUT, "match", ""),
    ]
    assert [word.kind for word in align_words([], ["a", "b"])] == [INSERTED, INSERTED]
    assert align_words([], []) == []


def test_errors_are_those_of_the_word_error_rate():
    draw = random.Random(0)
    for _ in range(200):
        said, heard = ([draw.choice("abc") for _ in range(draw.randrange(8))] for _ in range(2))
        words = align_words(said, heard)
        assert sum(word.kind != SAME for word in words) == editdistance.eval(said, heard)
        assert [word.said for word in words if word.said] == said
        assert [word.heard for word in words if word.heard] == heard


# ---- audio and pictures ----


@pytest.mark.parametrize("name", ["flac", "wav"])
def test_players_hold_the_scored_samples(name, tmp_path):
    samples = np.random.default_rng(0).integers(-32768, 32767, 5000, dtype=np.int16)
    soundfile.write(tmp_path / "x.wav", samples, 24000, subtype="PCM_16")
    wav, rate = soundfile.read(tmp_path / "x.wav", dtype="float32")
    uri = encode_audio(wav, rate, name)
    assert uri.startswith(f"data:audio/{name};base64,")
    back, rate = soundfile.read(io.BytesIO(payload(uri)), dtype="int16")
    assert rate == 24000
    np.testing.assert_array_equal(back, samples)


@pytest.mark.parametrize("name", ["mp3", "ogg"])
def test_lossy_formats_are_smaller_and_alike(name):
    wav = speech(2.0, seed=3)
    uri = encode_audio(wav, 24000, name)
    back, rate = soundfile.read(io.BytesIO(payload(uri)))
    assert rate == 24000 and len(uri) < len(encode_audio(wav, 24000, "flac")) / 2
    size = min(len(back), len(wav))
    peak = np.abs(np.correlate(back[:size], wav[:size], "full")).max()
    assert peak / np.linalg.norm(back[:size]) / np.linalg.norm(wav[:size]) > 0.9


def test_formats_and_rates_that_do_not_exist():
    with pytest.raises(SiTokError, match="unknown audio format 'aac'"):
        encode_audio(np.zeros(10), 24000, "aac")
    with pytest.raises(SiTokError, match="7001 Hz cannot be written as mp3"):
        encode_audio(np.zeros(10), 7001, "mp3")


def pixels(uri: str) -> np.ndarray:
    with Image.open(io.BytesIO(payload(uri))) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def test_spectrograms_share_axes_and_levels():
    seconds = np.arange(24000) / 24000
    tone = np.sin(2 * np.pi * 1000 * seconds).astype(np.float32)
    pictures = draw_spectrograms([(0.5 * tone, 24000), (0.05 * tone, 24000), (0.5 * tone[:12000], 24000)])
    loud, quiet, short = map(pixels, pictures.uris)
    assert loud.shape == quiet.shape == short.shape == (128, 50, 3) and pictures.seconds == 1.0
    np.testing.assert_array_equal(loud[:, :22], short[:, :22])
    assert (short[:, 26:] == (236, 239, 242)).all()  # it has ended
    (here,) = (tick.percent for tick in pictures.frequencies if tick.label == "1")
    brightness = loud.sum(2)[:, 25]
    assert abs(100 * (1 - (brightness.argmax() + 0.5) / 128) - here) < 1.5
    assert quiet.sum(2)[:, 25].max() < brightness.max()


@pytest.mark.parametrize("seconds", [0.02, 0.5, 1.3, 4.9, 31.0, 900.0, 5000.0])
def test_time_ticks_lie_on_the_axis(seconds):
    ticks = time_ticks(seconds)
    assert 1 <= len(ticks) <= 6 and ticks[0].label == "0"
    for tick in ticks:
        assert float(tick.label) / seconds * 100 == pytest.approx(tick.percent) and tick.percent <= 100


# ---- curves ----


def test_curves_of_a_resumed_training(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    for part in ("first", "second"):
        with SummaryWriter(tmp_path / "train", filename_suffix=part) as writer:
            for step in (1, 2) if part == "first" else (2, 3):
                writer.add_scalar("loss", {"first": 10.0, "second": 20.0}[part] + step, step)
            writer.add_scalar("loss", float("nan"), 9)
    curves = read_curves(tmp_path)
    assert curves.valid == {} and list(curves.train) == ["loss"]
    assert curves.train["loss"].steps.tolist() == [1, 2, 3]
    assert curves.train["loss"].values.tolist() == [11.0, 22.0, 23.0]


def test_thinning_keeps_means():
    series = Series(np.arange(1000), np.arange(1000.0) ** 2)
    thin = series.thinned(10)
    assert len(thin.steps) == 10 and thin.values[0] == np.mean(np.arange(100.0) ** 2) and thin.steps[0] == 49.5
    assert series.thinned(1000) is series


def test_no_curves(tmp_path):
    with pytest.raises(SiTokError, match="no event files in .*use_tensorboard"):
        read_curves(tmp_path)


# ---- collecting ----


def test_an_experiment_is_collected_whole(experiment, probe_dir):
    found = collect([experiment, probe_dir], 2)
    (evaluation,), (training,) = found.evaluations, found.experiments
    assert (evaluation.system, evaluation.name) == ("sitok_tiny", "test") and evaluation.steps
    assert [count.tolist() for count in evaluation.counts] == [[8, 0, 8, 0, 7, 0, 7, 0], [0, 15, 0, 15, 0, 0, 0, 0]]
    assert len(evaluation.utterances) == 2
    for utterance in evaluation.utterances:
        assert utterance.text == TEXTS[utterance.name]
        assert [take.row for take in utterance.takes] == list(SYSTEMS)  # not the row that was not run
        assert all(take.audio and not take.missing for take in utterance.takes)
    assert training.command == "python3 -m sitok_espnet.bin.sitok_train --seed 7"
    assert training.config == "seed: 7\ntoken_list:\n# 3 text pieces\nencoder: llama"
    assert sorted(training.curves.train) == ["loss", "loss_ctc", "loss_scale", "optim0_lr0"]
    assert len(found.probes) == 1


def test_utterances_are_shared_among_the_sets(experiment, tmp_path):
    for name in ("de", "en", "fr"):
        shutil.copytree(experiment / "eval" / "test", tmp_path / "exp" / "eval" / name)
    for wanted, shares in ((0, [0, 0, 0]), (1, [1, 1, 1]), (5, [2, 2, 1]), (9, [3, 3, 3]), (99, [3, 3, 3])):
        found = collect([tmp_path / "exp"], wanted)
        assert [item.name for item in found.evaluations] == ["de", "en", "fr"]
        assert [len(item.utterances) for item in found.evaluations] == shares
    assert found.experiments == ()  # no training here


def test_a_moved_evaluation_plays_its_own_audio(experiment, tmp_path):
    moved = shutil.copytree(experiment / "eval" / "test", tmp_path / "moved")
    (evaluation,) = collect([moved], 1).evaluations
    for take in evaluation.utterances[0].takes:
        assert take.audio.location == str(moved / take.row / "wav" / f"{evaluation.utterances[0].name}.wav")
    assert evaluation.system == "moved"


def test_missing_audio_is_said(tmp_path):
    folder = make_eval_dir(tmp_path / "eval")
    shutil.rmtree(folder / "copy_synthesis")
    for path in (folder / "mean_mel" / "wav").iterdir():
        path.unlink()
    (evaluation,) = collect([folder], 1).evaluations
    missing = {take.row: take.missing for take in evaluation.utterances[0].takes if take.missing}
    assert set(missing) == {"copy_synthesis", "mean_mel"} and "no audio of spk1-" in missing["mean_mel"]
    text = Document(render_page(collect([folder], 1))).text
    assert f"{missing['copy_synthesis']} " in text
    shutil.rmtree(folder / "original")  # the first row that has audio takes its place
    (evaluation,) = collect([folder, folder / "results.json"], 1).evaluations
    assert len(evaluation.utterances) == 1 and any(take.audio for take in evaluation.utterances[0].takes)
    for path in folder.glob("*/wav.scp"):
        path.unlink()
    text = Document(render_page(collect([folder], 1))).text
    assert f"Nothing to listen to: there is no audio in {folder / 'original'} nor of the other systems." in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no results.json here and none in eval/*/"),
        ("{", "is not valid JSON"),
        ('{"other": 1}', "has neither systems nor probe tasks"),
        ("[]", "has neither systems nor probe tasks"),
    ],
)
def test_what_is_no_evaluation_is_refused(content, message, tmp_path, capsys):
    if content is not None:
        (tmp_path / "results.json").write_text(content)
    assert main(["report", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error and str(tmp_path) in error and "Traceback" not in error
    assert not (tmp_path / "report.html").exists()


def test_bad_options(experiment, capsys):
    assert main(["report", str(experiment), "--utterances", "-1"]) == 2
    assert "--utterances must not be negative" in capsys.readouterr().err


# ---- numbers ----


def test_score_table():
    table = score_table(results())
    assert [column.title for column in table.columns] == ["bit/s", "WER", "mel distance", "sim"]
    rows = {row.title: row for row in table.rows}
    assert [cell.text for cell in rows["reconstruction"].cells] == ["75", "0.500", "0.600", "not run"]
    assert rows["reconstruction"].cells[1].small == ("[0.450, 0.550]",)
    assert [cell.text for cell in rows["original"].cells] == ["–", "0.100", "–", "not run"]
    best = [
        (title, index) for title, row in rows.items() for index, cell in enumerate(row.cells) if cell.style == "best"
    ]
    assert best == [("reconstruction", 2), ("reconstruction with CFG", 1)]  # not the peer at 80 times the rate
    dac = next(row for row in table.rows if row.reason)
    assert dac.reason == "weights of DAC are not at hand" and dac.cells == ()
    assert table.reasons == ("no encoder here",)
    assert (rows["reconstruction"].small, dac.small) == ("", "5.23.0, random weights")


def test_settings_of_a_codec_are_one_family():
    assert {row.family for row in table_rows(results()) if row.kind == "peer"} == {"Opus", "DAC"}


def test_rates_of_results_before_rows_had_them():
    old = results()
    for content in old["systems"].values():
        content.pop("rate", None)
    assert {row.key: row.rate for row in table_rows(old) if row.rate} == {
        "reconstruction": 75.0,
        "reconstruction_cfg": 75.0,
    }


def test_differences_say_what_they_show():
    (row,) = comparison_table(results()).rows
    assert row.title == "reconstruction − control: mean mel"
    assert [cell.text for cell in row.cells] == ["−0.100", "−0.100"]
    assert row.cells[0].small == ("[−0.150, −0.050]", "p 0.0100", "better")
    assert row.cells[1].small[-1] == "no difference shown"
    adjusted = results()
    adjusted["comparisons"][0]["metrics"]["wer"]["p_holm"] = 0.2
    assert comparison_table(adjusted).rows[0].cells[0].small[-2:] == ("Holm p 0.2000", "no difference shown")


def test_probes_in_per_cent():
    table = probe_table(probes())
    (row,) = table.rows
    assert [cell.text for cell in row.cells] == ["accuracy ↑", "20.0", "75.0", "75.0", "not run"]
    assert row.cells[3].small == ("[70.0, 80.0]", "n = 40", "linear")
    assert table.reasons == ("not trained",)


def test_the_headline_is_about_the_model_as_configured(experiment):
    content = results()
    assert main_row(content).key == "reconstruction"  # though CFG has the better WER
    assert [(item.title, item.value, item.context) for item in key_numbers(content)] == [
        ("WER", "0.500", (("original", "0.100"), ("copy synthesis", "0.200"))),
        ("mel distance", "0.600", (("copy synthesis", "0.100"),)),
    ]
    (evaluation,) = collect([experiment], 0).evaluations
    assert headline(evaluation) == (
        "sitok_tiny (1.2 M parameters) codes speech as 12.5 frames a second of 2 codebooks with 8 entries: 75 bit/s. "
        "On the 3 utterances (8 words) of the set “test”, reconstruction reaches WER 0.500 (original 0.100, "
        "copy synthesis 0.200); mel distance 0.600 (copy synthesis 0.100)."
    )


def test_players(experiment):
    (evaluation,) = collect([experiment], 3).evaluations
    groups = listening(evaluation, "flac")
    assert [group.name for group in groups] == list(UTTERANCES)
    player = groups[0].players[2]
    assert (player.title, player.rate) == ("reconstruction", "75 bit/s")
    assert [word.kind for word in player.words] == [SAME, SUBSTITUTED, SAME, INSERTED]
    assert player.scores == (("WER", "0.500"), ("mel distance", "0.600"))
    assert [player.rate for player in groups[0].players] == [
        "not coded",
        "not coded",
        "75 bit/s",
        "75 bit/s",
        "6,312 bit/s",
        "control",
    ]


# ---- the document ----


def test_everything_is_on_the_page(document):
    text = document.text
    for part in (
        "not run: weights of DAC are not at hand",
        "not run: no encoder here",
        "Quality against bit rate",
        "Quality against solver steps",
        "Understanding",
        "tokens lie between",
        "python3 -m sitok_espnet.bin.sitok_train --seed 7",
        "seed: 7",
        "f" * 40,
        "abacus, 2 cores",
        "codebook use, training dump",
        "total loss",
        "learning rate",
        "codebook perplexity, validation",
        "Share of the way from untrained to copy synthesis that training closes, in mel distance: 60.0%",
    ):
        assert part in text, part
    assert "loss scale" not in text
    assert len(document.all("audio")) == 2 * len(SYSTEMS)


def test_nothing_is_asked_of_the_network(page, document):
    for tag, attributes in document.elements:
        for name in ("src", "href", "srcset", "poster", "data", "action"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:", "#")), (tag, name, value[:80])
    assert not re.search(r"url\(|@import", document.style)
    policy = next(item["content"] for item in document.all("meta") if "http-equiv" in item)
    assert "default-src 'none'" in policy and "unsafe-inline'; script" in policy
    digest = base64.b64encode(hashlib.sha256(document.script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy  # no other script may run


def test_it_can_be_read_without_eyes_and_mouse(document):
    assert document.all("html") == [{"lang": "en"}]
    assert all(image["alt"].strip() for image in document.all("img"))
    assert all(player["aria-label"].strip() and "controls" in player for player in document.all("audio"))
    levels = [int(tag[1]) for tag, _ in document.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))
    ids = [attributes["id"] for _, attributes in document.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"][1:] for link in document.all("a")} <= set(ids)
    frames = [item for item in document.all("div") if item.get("class") == "scroll"]
    assert frames and all(item["tabindex"] == "0" and item["aria-label"] for item in frames)


EVIL = "<img_src=x_onerror=alert(1)>"


def test_text_stays_text(tmp_path):
    content = results()
    text = '<script>alert("x")</script> & "quotes" \'single\''
    for system in content["systems"].values():
        system["utterances"] = {EVIL: {"wer": {"value": 0.5, "detail": "<b>bold</b>"}}}
    content["systems"]["peer_dac_1k"]["reason"] = "</td><script>alert(2)</script>"
    content["systems"]["peer_opus_6k"]["about"]["note"] = "<i>note</i>"
    content["metrics"]["wer"]["title"] = "<u>WER</u>"
    content["provenance"]["command"] = "</code><script>alert(3)</script>"
    make_eval_dir(tmp_path / "eval" / "test", content, (EVIL, UTTERANCES[0]), {EVIL: text, **TEXTS})
    (tmp_path / "config.yaml").write_text("a: </pre><script>alert(4)</script>\n")
    document = Document(render_page(collect([tmp_path], 2), title='"><script>alert(5)</script>'))
    assert len(document.all("script")) == 1 and "alert" not in document.script
    assert not any(name.startswith("on") for _, attributes in document.elements for name in attributes)
    assert not {"b", "i", "u"} & {tag for tag, item in document.elements if not item.get("class")}
    for part in (text, EVIL, "</td><script>alert(2)", "<u>WER</u>", "alert(3)", "alert(4)", '"><script>alert(5)'):
        assert part in document.text, part
    assert any(text in player["aria-label"] for player in document.all("audio"))


def test_the_same_files_give_the_same_page(page, experiment, probe_dir):
    assert render_page(collect([experiment, probe_dir], 2)) == page


def test_a_page_of_somebody_elses_audio(tmp_path):
    """No tokenizer, no transcripts, no controls: nothing is said of what is not there."""
    content = results()
    for key in ("tokenizer", "ctc", "codebook", "bits_per_second", "speed", "mel_distance_closed"):
        content[key] = None
    content["systems"] = {
        "original": content["systems"]["original"],
        "theirs": content["systems"]["reconstruction"] | {"rate": None},
    }
    content["comparisons"] = []
    folder = make_eval_dir(tmp_path / "judged", content)
    shutil.copytree(folder / "reconstruction", folder / "theirs")
    for name in ("tokens.json", "tokenizer.json", "text"):
        (folder / name).unlink()
    document = Document(render_page(collect([folder], 1)))
    assert "theirs reaches WER 0.500" in document.text and "(no transcript)" in document.text
    assert "one too three four" in document.text or "five" in document.text  # recognised all the same
    for part in ("Tokens and speed", "Differences", "bit rate", "Training", "not run: weights"):
        assert part not in document.text, part


def test_a_page_of_probes_alone(probe_dir):
    document = Document(render_page(collect([probe_dir])))
    assert "Understanding probes" in document.text and "75.0" in document.text and not document.all("audio")


def test_two_probe_tables_are_told_apart(tmp_path):
    for name, sizes in (("exp_a", [8]), ("exp_b", [16, 16])):
        card = {"width": len(sizes), "frame_rate": "25/2", "codebook_sizes": sizes, "model_hash": f"hash{name}"}
        (tmp_path / name / "probes").mkdir(parents=True)
        write_json(tmp_path / name / "probes/results.json", {**probes(), "inputs": {"tokens": card}})
    text = Document(render_page(collect([tmp_path / "exp_a/probes", tmp_path / "exp_b/probes"]))).text
    for name, codebooks in (("exp_a", "one codebook of 8 codes"), ("exp_b", "2 codebooks of 16 codes")):
        assert f"{name}/probes" in text
        assert f"Tokenizer hash{name}, 12.5 frames a second, {codebooks}." in text


def test_the_command(experiment, tmp_path, capsys, monkeypatch):
    words = ["report", str(experiment), "--utterances", "1", "--audio_format", "mp3", "--title", "A title"]
    assert main([*words, "-o", str(tmp_path / "page.html")]) == 0
    assert f"{tmp_path / 'page.html'}: " in capsys.readouterr().out
    page = (tmp_path / "page.html").read_text()
    assert "<h1>A title</h1>" in page and "data:audio/mpeg;base64," in page and "which are lossy" in page
    from sitok_espnet.bin import report

    monkeypatch.setattr(report, "LARGE", 1e5)
    folder = shutil.copytree(experiment, tmp_path / "exp")
    assert main(["report", str(folder / "eval/test/results.json"), "--utterances", "0"]) == 0
    assert "larger than 0 MB: fewer --utterances" in capsys.readouterr().err
    assert (folder / "eval/test/report.html").is_file()


def test_verification_says_how_many_trials_and_who_was_silent(page):
    row = page[page.index('<table class="facts"><thead><tr><th scope="col">system</th><th scope="col">EER') :]
    assert "<td>2.0% [1.0%, 3.0%] (1 without a voice: rejected)</td>" in row
    assert "<td>77 (2 originals excluded: no voice)</td>" in row and "<td>80</td>" in row
