"""The two commands on a tiny model: complete tables, cache, missing pieces, pictures."""

import json
import math
import shutil
import sys

import numpy as np
import pytest
from experiment_dir import refine_model_dir
from speech_generator import speech, write_corpus, write_other_text

from sitok_espnet.audio import write_audio
from sitok_espnet.bin import sitok_score, sitok_synth_systems
from sitok_espnet.evaluate import measure as measure_module
from sitok_espnet.evaluate.files import read_transcripts
from sitok_espnet.evaluate.metrics.stoi import STOI
from sitok_espnet.evaluate.score_cache import CACHE
from sitok_espnet.evaluate.systems import default_systems
from sitok_espnet.inputs import read_scp

SYSTEMS = default_systems("griffin_lim")
METRICS = ["wer", "cer", "sim", "stoi", "mel"]  # the quality scores have their own tests


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    directory = write_corpus(tmp_path_factory.mktemp("data"), 4, words=(2, 3))
    short = directory / "wav" / "tooshort.wav"
    write_audio(short, speech(0.3), 24000)
    for name, line in (("wav.scp", f"tooshort {short}"), ("text", "tooshort one")):
        with open(directory / name, "a", encoding="utf-8") as file:
            file.write(line + "\n")
    write_other_text(directory)
    return directory


@pytest.fixture(scope="module")
def synthesized(tmp_path_factory, data_dir, tiny_model_dir):
    eval_dir = tmp_path_factory.mktemp("eval")
    arguments = ["--model", str(tiny_model_dir), "--data_dir", str(data_dir), "--output_dir", str(eval_dir)]
    assert sitok_synth_systems.main([*arguments, "--steps", "1"]) == 0
    return eval_dir


@pytest.fixture(scope="module")
def dump_dir(tmp_path_factory, data_dir, tiny_tokenizer):
    from sitok_espnet.dump import dump_tokens

    directory = tmp_path_factory.mktemp("dump") / "train"
    assert dump_tokens(tiny_tokenizer, read_scp(data_dir / "wav.scp"), directory, progress=False)
    return directory


def score(eval_dir, data_dir, *options):
    arguments = ["--eval_dir", str(eval_dir), "--data_dir", str(data_dir), "--nj", "1", "--resamples", "200"]
    assert sitok_score.main([*arguments, *map(str, options)]) == 0
    return json.loads((eval_dir / "results.json").read_text()), (eval_dir / "RESULTS.md").read_text()


@pytest.fixture(scope="module")
def scored(synthesized, data_dir, dump_dir):
    options = ["--metrics", *METRICS, "--train_text", data_dir / "other_text", "--train_tokens", dump_dir]
    return score(synthesized, data_dir, *options, "--spectrograms", 2)


def test_every_cell_is_there(scored):
    results, _ = scored
    assert list(results["systems"]) == list(SYSTEMS)
    for system, content in results["systems"].items():
        for name in METRICS:
            cell = content["metrics"][name]
            if system == "original" and name in ("sim", "stoi", "mel"):
                assert cell["status"] == "reference"
            else:
                assert cell["low"] <= cell["value"] <= cell["high"], (system, name)


def test_kinds_of_errors_add_up_to_the_word_error_rate(scored):
    results, page = scored
    words = results["data"]["reference_words"]
    for system, content in results["systems"].items():
        cell = content["metrics"]["wer"]
        kinds = cell["error_kinds"]
        assert kinds["correct"] + kinds["substituted"] + kinds["deleted"] == words
        assert (words - kinds["correct"] + kinds["inserted"]) / words == pytest.approx(cell["value"]), system
    title = "WER (pocketsphinx, knows the words)"
    assert "## Kinds of errors" in page and f"| reconstruction | {title} | {words:,} |" in page


def test_corpus_values_follow_from_the_utterances(scored):
    results, _ = scored
    for content in results["systems"].values():
        for name in METRICS:
            cell = content["metrics"][name]
            measured = [
                row[name] for row in content["utterances"].values() if row.get(name, {}).get("value") is not None
            ]
            if cell["status"] == "measured":
                total = sum(row["numerator"] for row in measured) / sum(row["denominator"] for row in measured)
                assert cell["value"] == pytest.approx(total)
                assert cell["count"] == len(measured)


def test_short_utterance_is_excluded_loudly(scored):
    results, page = scored
    cell = results["systems"]["copy_synthesis"]["metrics"]["stoi"]
    assert list(cell["excluded"]) == ["tooshort"] and cell["count"] == 4
    assert "excluded from stoi of copy synthesis: less than about 0.4 s of speech" in page
    assert "(1 excluded)" in page


def test_table_has_all_rows_and_columns(scored):
    _, page = scored
    lines = page.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("| system"))
    table = [line.strip("|").split("|") for line in lines[start : start + 2 + len(SYSTEMS)]]
    assert {len(row) for row in table} == {2 + len(METRICS)}  # the name, the bit rate
    assert all(cell.strip() for row in table for cell in row)
    assert [row[0].strip() for row in table[2:]][:3] == ["original", "copy synthesis", "reconstruction"]
    for text in ("CTC decoder, CER", "codebook use, training dump", "25/2 x (log2(64))", "real-time factor, encode"):
        assert text in page


def test_copy_synthesis_is_better_than_the_controls(scored):
    systems = scored[0]["systems"]
    for control in ("untrained", "mean_mel", "other_tokens"):
        assert systems["copy_synthesis"]["metrics"]["mel"]["high"] < systems[control]["metrics"]["mel"]["low"]


def test_codebook_and_rates(scored, dump_dir):
    results, _ = scored
    from sitok_espnet.tokens import open_tokens

    codes = np.concatenate([codes for _, codes in open_tokens(dump_dir)]).ravel()
    share = np.bincount(codes, minlength=64) / len(codes)
    entropy = -sum(p * math.log(p) for p in share if p)
    assert results["codebook"]["train"]["perplexity"] == pytest.approx([math.exp(entropy)])
    assert results["codebook"]["train"]["used"] == [np.count_nonzero(share) / 64]
    assert results["bits_per_second"]["value"] == 12.5 * 6


def test_comparisons_are_differences_of_the_table(scored):
    results, _ = scored
    for pair in results["comparisons"]:
        cell = pair["metrics"]["mel"]
        first, second = (results["systems"][pair[side]]["metrics"]["mel"]["value"] for side in ("first", "second"))
        assert cell["value"] == pytest.approx(first - second)
        assert cell["first_is_better"] == (first < second)
    values = [
        results["systems"][s]["metrics"]["mel"]["value"] for s in ("untrained", "reconstruction", "copy_synthesis")
    ]
    expected = (values[0] - values[1]) / (values[0] - values[2])
    assert results["mel_distance_closed"]["value"] == pytest.approx(expected)


def test_provenance_without_a_host_name(scored):
    import platform

    results, page = scored
    made = results["provenance"]
    assert made["command"].startswith("python3 -m sitok_espnet.bin.sitok_score --eval_dir ")
    assert set(made) >= {"commit", "seed", "machine", "package_version"}
    assert platform.node() not in json.dumps(made["machine"])
    assert results["tokenizer"]["config_hash"] in page


def test_transcripts_stand_beside_the_scores(scored, synthesized, data_dir):
    assert read_transcripts(synthesized / "text") == read_transcripts(data_dir / "text")


def test_pictures(scored, synthesized):
    from PIL import Image

    pictures = sorted((synthesized / "spectrograms").glob("*.png"))
    assert len(pictures) == 2
    for path in pictures:
        with Image.open(path) as image:
            assert image.width == 1200
            assert len(np.unique(np.asarray(image.convert("L")))) > 50


@pytest.fixture
def copied(synthesized, scored, tmp_path):
    """A copy of the scored directory (its wav.scp still point to the same audio)."""
    return shutil.copytree(synthesized, tmp_path / "eval")


def test_rerun_measures_nothing(copied, data_dir, scored, monkeypatch):
    monkeypatch.setattr(measure_module, "_measure", lambda *_: pytest.fail("measured again"))
    results, _ = score(
        copied, data_dir, "--metrics", *METRICS, "--train_text", data_dir / "other_text", "--spectrograms", 0
    )
    assert results["systems"] == scored[0]["systems"]


def test_another_evaluation_with_the_same_cache_measures_nothing(copied, data_dir, scored, tmp_path, monkeypatch):
    shared = tmp_path / "elsewhere" / CACHE
    shared.parent.mkdir()
    (copied / CACHE).rename(shared)
    monkeypatch.setattr(measure_module, "_measure", lambda *_: pytest.fail("measured again"))
    options = ["--metrics", *METRICS, "--train_text", data_dir / "other_text", "--spectrograms", 0]
    results, _ = score(copied, data_dir, *options, "--cache", shared)
    assert results["systems"] == scored[0]["systems"] and not (copied / CACHE).exists()


def test_a_costly_metric_judges_the_rows_that_the_table_is_about(copied, data_dir, scored, monkeypatch):
    monkeypatch.setattr(STOI, "costly", True)
    options = ["--metrics", "stoi", "mel", "--spectrograms", 0]
    results, page = score(copied, data_dir, *options)
    about = {"original", "copy_synthesis", "reconstruction"}
    for system, content in results["systems"].items():
        cell = content["metrics"]["stoi"]
        assert (cell["status"] != "not judged") is (system in about)
        assert any("stoi" in measured for measured in content["utterances"].values()) is (
            system in about - {"original"}
        )
        assert content["metrics"]["mel"] == scored[0]["systems"][system]["metrics"]["mel"]
    assert "not judged: it costs seconds an utterance (--judge_all" in page
    assert {pair["metrics"]["stoi"]["status"] for pair in results["comparisons"]} == {"not judged"}
    assert "STOI" not in page[page.index("## Comparisons") :]
    results, page = score(copied, data_dir, *options, "--judge_all")
    for system, content in results["systems"].items():
        assert content["metrics"]["stoi"] == scored[0]["systems"][system]["metrics"]["stoi"]
    assert "judge_all" not in page.partition("## Provenance")[0]


def test_a_folder_that_is_no_recognizers_is_one_line(copied, data_dir, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("SITOK_WHISPER", str(tmp_path))
    assert sitok_score.main(["--eval_dir", str(copied), "--data_dir", str(data_dir)]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith(f"sitok_score: error: SITOK_WHISPER={tmp_path.name} is no recognizer's folder")
    assert "local/fetch_whisper.py" in message and (copied / "results.json").is_file()


def test_changed_audio_is_measured_again(copied, data_dir, scored):
    item = read_scp(copied / "copy_synthesis" / "wav.scp")[0]
    wav, rate = item.read()
    noisy = copied / "noisy.wav"
    write_audio(noisy, np.clip(wav + 0.1 * np.random.default_rng(0).standard_normal(len(wav)), -1, 1), rate)
    scp = copied / "copy_synthesis" / "wav.scp"
    scp.write_text(scp.read_text().replace(item.location, str(noisy)))
    results, _ = score(copied, data_dir, "--metrics", "mel", "--spectrograms", 0)
    before = scored[0]["systems"]["copy_synthesis"]["utterances"]
    after = results["systems"]["copy_synthesis"]["utterances"]
    assert after[item.utt]["mel"]["value"] > before[item.utt]["mel"]["value"] + 0.5
    assert all(after[utt]["mel"] == before[utt]["mel"] for utt in after if utt != item.utt)


def test_damaged_cache_line_is_measured_again(copied, data_dir, scored):
    cache = copied / CACHE
    cache.write_text(cache.read_text()[:-20])
    results, _ = score(
        copied, data_dir, "--metrics", *METRICS, "--train_text", data_dir / "other_text", "--spectrograms", 0
    )
    assert results["systems"] == scored[0]["systems"]


def test_missing_pieces_are_named(copied, data_dir, monkeypatch):
    shutil.rmtree(copied / "reconstruction")
    for name in ("timing.json", "ctc_text", "tokenizer.json"):
        (copied / name).unlink()
    monkeypatch.setitem(sys.modules, "pystoi", None)
    results, page = score(copied, data_dir, "--metrics", "wer", "stoi", "mel", "--spectrograms", 0)
    assert results["metrics"]["wer"]["status"] == "not run" and "--train_text" in results["metrics"]["wer"]["reason"]
    row = next(line for line in page.splitlines() if line.startswith("| reconstruction |"))
    # Columns that are not run at all say why below the table, once.
    missing = "not run: not synthesized (sitok_synth_systems --systems reconstruction)"
    assert row == f"| reconstruction | not run | not run | {missing} |"
    assert "not run: pystoi is not installed: pip install pystoi" in page
    for quantity in ("codebook use, training dump", "CTC decoder, CER", "bits per second", "real-time factor, vocoder"):
        assert f"| {quantity} | not run: " in page
    assert results["mel_distance_closed"]["status"] == "not run"
    assert all(cell["status"] == "not run" for pair in results["comparisons"] for cell in pair["metrics"].values())


def test_rows_of_other_settings_are_left_out(copied, data_dir, tiny_model_dir):
    """A later synthesis of some systems must not be mixed with what an earlier one left."""
    words = ["--model", tiny_model_dir, "--data_dir", data_dir, "--output_dir", copied, "--steps", 2]
    words = [str(word) for word in [*words, "--systems", "copy_synthesis"]]
    assert sitok_synth_systems.main(words) == 0
    results, page = score(copied, data_dir, "--metrics", "mel", "--spectrograms", 0)
    status = {name: row["status"] for name, row in results["systems"].items()}
    assert {name for name in status if status[name] == "measured"} == {"original", "copy_synthesis"}
    assert "not run: made with other settings than the last synthesis (steps 1, not 2): sitok_synth_systems" in page
    assert results["speed"]["status"] == "not run" and "(steps 1, not 2)" in results["speed"]["reason"]
    assert sitok_synth_systems.main([*words, "reconstruction"]) == 0
    results, _ = score(copied, data_dir, "--metrics", "mel", "--spectrograms", 0)
    assert results["systems"]["reconstruction"]["status"] == "measured" and results["speed"]["steps"] == 2


def test_rows_of_another_model_or_vocoder_are_left_out(copied, data_dir, tiny_model_dir, tmp_path):
    other = refine_model_dir(tiny_model_dir, tmp_path / "other")
    words = ["--data_dir", data_dir, "--output_dir", copied, "--steps", 1, "--systems", "mean_mel"]
    words += ["--model", other, "--vocoder_conf", "iterations=2"]
    assert sitok_synth_systems.main([str(word) for word in words]) == 0
    results, _ = score(copied, data_dir, "--metrics", "mel", "--spectrograms", 0)
    for name, row in results["systems"].items():
        assert row["status"] == ("measured" if name in ("original", "mean_mel") else "not run"), name
    reason = results["systems"]["reconstruction"]["reason"]
    assert "model_hash" in reason and "vocoder_conf {}, not {'iterations': 2}" in reason
    (copied / "reconstruction_before").mkdir()
    shutil.copy(copied / "reconstruction/wav.scp", copied / "reconstruction_before/wav.scp")
    results, _ = score(copied, data_dir, "--metrics", "mel", "--systems", "reconstruction_before", "--spectrograms", 0)
    assert "does not say how" in results["systems"]["reconstruction_before"]["reason"]


def test_threads_do_not_make_other_audio(copied, data_dir, scored):
    path = copied / "reconstruction/settings.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"threads": 99, "device": "cuda"}))
    results, _ = score(copied, data_dir, "--metrics", "mel", "--spectrograms", 0)
    before = scored[0]["systems"]["reconstruction"]["metrics"]["mel"]
    assert results["systems"]["reconstruction"]["metrics"]["mel"] == before


def test_a_failed_call_leaves_no_earlier_results(copied, data_dir):
    assert (copied / "results.json").is_file() and (copied / "RESULTS.md").is_file()
    command = ["--eval_dir", str(copied), "--data_dir", str(data_dir), "--metrics"]
    assert sitok_score.main([*command, "taste"]) == 2
    assert (copied / "results.json").is_file() and (copied / "RESULTS.md").is_file()  # a typing error costs nothing
    assert sitok_score.main([*command, "wer", "--train_text", "nowhere"]) == 2
    assert not (copied / "results.json").exists() and not (copied / "RESULTS.md").exists()


def test_ctc_errors_of_every_utterance(scored, data_dir):
    ctc = scored[0]["ctc"]
    texts = read_transcripts(data_dir / "text")
    lengths = {utt: len(" ".join(text.split())) for utt, text in texts.items()}
    counts = ctc["utterances"]
    assert {utt: count["length"] for utt, count in counts.items()} == lengths and len(counts) == 5
    total = sum(count["errors"] for count in counts.values()) / sum(lengths.values())
    assert ctc["cer"]["value"] == pytest.approx(total) and ctc["cer"]["count"] == 5


def test_missing_utterance_is_an_error(copied, data_dir, capsys):
    scp = copied / "untrained" / "wav.scp"
    scp.write_text("".join(scp.read_text().splitlines(keepends=True)[1:]))
    arguments = ["--eval_dir", str(copied), "--data_dir", str(data_dir), "--nj", "1", "--metrics", "mel"]
    assert sitok_score.main(arguments) == 2
    assert "has no utterance spk00-utt0000" in capsys.readouterr().err


def test_two_processes_give_the_same_numbers(copied, data_dir, scored):
    (copied / CACHE).unlink()
    results, _ = score(copied, data_dir, "--metrics", "stoi", "mel", "--spectrograms", 0, "--nj", 2)
    for system, content in results["systems"].items():
        for name in ("stoi", "mel"):
            assert content["metrics"][name] == scored[0]["systems"][system]["metrics"][name]


def test_tokens_of_another_model_are_refused(copied, data_dir, dump_dir):
    card = json.loads((copied / "tokenizer.json").read_text())
    (copied / "tokenizer.json").write_text(json.dumps(card | {"codes_hash": "f" * 16}))
    results, _ = score(copied, data_dir, "--metrics", "mel", "--train_tokens", dump_dir, "--spectrograms", 0)
    assert results["codebook"]["train"]["status"] == "not run"
    assert "f" * 16 in results["codebook"]["train"]["reason"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--metrics", "taste"], "unknown metric 'taste'"),
        (["--data_dir", "nowhere"], "no such wav.scp"),
        (["--resamples", "0"], "--resamples must be at least 1"),
        (["--metrics", "wer", "--train_text", "nowhere"], "no such text file"),
    ],
)
def test_bad_requests(copied, data_dir, capsys, options, message):
    assert sitok_score.main(["--eval_dir", str(copied), "--data_dir", str(data_dir), "--nj", "1", *options]) == 2
    assert message in capsys.readouterr().err
    if "taste" in options:
        assert (copied / "results.json").is_file() and (copied / "RESULTS.md").is_file()
