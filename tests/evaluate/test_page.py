"""The report page as a document."""

import base64
import hashlib
import re
import shutil

import pytest
from eval_dir import (
    SYSTEMS,
    TEXTS,
    UTTERANCES,
    make_eval_dir,
    probes,
    results,
    write_json,
)
from page_reader import Document

from sitok_espnet.bin.main import main
from sitok_espnet.evaluate.page.collect import collect
from sitok_espnet.evaluate.page.render import render_page


@pytest.fixture(scope="module")
def page(experiment, probe_dir):
    return render_page(collect([experiment, probe_dir], 2))


@pytest.fixture(scope="module")
def document(page):
    return Document(page)


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
