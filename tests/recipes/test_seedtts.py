"""The SeedTTS recipe on a miniature look-alike of the test set: data, refusals, a scored model, the paper's table."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import soundfile
from speech_generator import speech
from stand_in_recipe import ROOT, make_repository

from sitok_espnet.checkpoint import pack
from sitok_espnet.inputs import read_scp

RECIPE = ROOT / "egs2/seedtts_eval/sitok1"
sys.path.insert(0, str(RECIPE / "local"))


@pytest.fixture
def seedtts(tmp_path):
    """en: two prompts, three utterances, one with its recording in a fifth field; zh: ids of speaker-number."""
    root = tmp_path / "seedtts_testset"
    lists = {
        "en": [
            "cv_1-cv_2|said before|prompt-wavs/cv_1.wav|one two three",
            "cv_1-cv_3|said before|prompt-wavs/cv_1.wav|four two, one.",
            "cv_7-cv_8|and this|prompt-wavs/cv_7.wav|three four one|wavs/other.wav",
        ],
        "zh": [
            "10002287-00000095|一二三|prompt-wavs/10002287-00000094.wav|四五六",
            "10002288-00000007|七八|prompt-wavs/10002288-00000001.wav|九十",
        ],
    }
    files = {
        "en": ["wavs/cv_1-cv_2", "wavs/cv_1-cv_3", "wavs/other", "prompt-wavs/cv_1", "prompt-wavs/cv_7"],
        "zh": ["wavs/10002287-00000095", "wavs/10002288-00000007"]
        + ["prompt-wavs/10002287-00000094", "prompt-wavs/10002288-00000001"],
    }
    for language, lines in lists.items():
        for seed, name in enumerate(files[language]):
            path = root / language / f"{name}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, speech(0.8, seed, seed % 2, 16000), 16000)
        (root / language / "meta.lst").write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    return root


def prepare(*words):
    import prepare_seedtts

    prepare_seedtts.main([str(word) for word in words])


def table(path):
    return dict(line.split(maxsplit=1) for line in path.read_text(encoding="utf-8").splitlines())


def test_data_directories(seedtts, tmp_path, capsys):
    out = tmp_path / "data"
    prepare("--source", seedtts.parent, "--out", out, "--allow_partial")
    en = seedtts / "en"
    assert table(out / "test_en/wav.scp") == {
        "cv_1-cv_2": str(en / "wavs/cv_1-cv_2.wav"),
        "cv_1-cv_3": str(en / "wavs/cv_1-cv_3.wav"),
        "cv_7-cv_8": str(en / "wavs/other.wav"),
    }
    assert table(out / "test_en/prompt.scp")["cv_1-cv_3"] == str(en / "prompt-wavs/cv_1.wav")
    assert table(out / "test_en/text")["cv_1-cv_3"] == "four two, one."
    assert list(table(out / "test_en/utt2spk").values()) == ["en-cv_1", "en-cv_1", "en-cv_7"]
    assert list(table(out / "test_zh/utt2spk").values()) == ["zh-10002287", "zh-10002288"]
    assert set(table(out / "test_zh/utt2lang").values()) == {"zh"}
    assert table(out / "test_zh/text")["10002288-00000007"] == "九十"
    assert "test_en: 3 utterances of 1,088: a partial copy, 2 speakers" in capsys.readouterr().out
    check = [sys.executable, ROOT / "local/check_data_dir.py", out / "test_en", out / "test_zh"]
    assert subprocess.run(check, capture_output=True).returncode == 0


def refused(*words):
    with pytest.raises(SystemExit) as caught:
        prepare(*words)
    return str(caught.value)


def test_a_partial_copy_is_refused_unless_asked_for(seedtts, tmp_path):
    words = ["--source", seedtts, "--out", tmp_path / "data", "--langs", "en"]
    assert "3 lines, published are 1,088" in refused(*words)
    (seedtts / "en/wavs/cv_1-cv_2.wav").unlink()
    (seedtts / "en/prompt-wavs/cv_7.wav").unlink()
    message = refused(*words)
    assert "1 recordings are missing" in message and "1 prompts are missing" in message and "allow_partial" in message
    assert not (tmp_path / "data").exists()
    prepare(*words, "--allow_partial")
    assert list(table(tmp_path / "data/test_en/wav.scp")) == ["cv_1-cv_3"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a|b|c", "meta.lst:4: expected id.prompt text.* found 3 fields"),
        ("a|b|p.wav|c|d.wav|e", "found 6 fields"),
        ("a|b|p.wav|", "one of them empty"),
        ("cv_1-cv_2|b|p.wav|c", "cv_1-cv_2 occurs twice .first in line 1"),
        ("a/b|b|p.wav|c", "slash or a blank"),
    ],
)
def test_lines_of_another_format(seedtts, tmp_path, line, message):
    path = seedtts / "en/meta.lst"
    path.write_text(path.read_text().rstrip("\n") + f"\n{line}\n")
    words = ["--source", seedtts, "--out", tmp_path / "data", "--langs", "en", "--allow_partial"]
    assert re.search(message, refused(*words))


def test_no_copy_at_all(tmp_path):
    assert "does not exist: unpack the SeedTTS test sets" in refused("--source", tmp_path, "--out", tmp_path / "data")


@pytest.fixture
def repository(tmp_path):
    path = make_repository(tmp_path / "repository")
    shutil.copytree(
        RECIPE,
        path / "egs2/seedtts_eval/sitok1",
        symlinks=True,
        ignore=shutil.ignore_patterns("data", "dump", "exp", "downloads"),
    )
    return path


def run(repository, *options):
    command = [repository / "egs2/seedtts_eval/sitok1/run.sh", *map(str, options)]
    environment = {**os.environ, "SITOK_USE_ACTIVE_PYTHON": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/")


def test_a_packed_model_is_scored(repository, seedtts, tiny_model_dir, tmp_path):
    pack(tiny_model_dir, tmp_path / "tiny_model/packed")
    done = run(
        repository,
        *("--scored_model", tmp_path / "tiny_model/packed", "--downloads", seedtts),
        *("--test_sets", "test_en", "--nj", 1),
        *("--local_data_opts", "--langs en --allow_partial true", "--steps", 1),
        *("--synth_args", "--systems original reconstruction --vocoder_conf iterations=1"),
        *("--score_args", "--metrics sim sim_prompt stoi --resamples 100 --spectrograms 0"),
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    recipe = repository / "egs2/seedtts_eval/sitok1"
    assert {item.read()[1] for item in read_scp_in(recipe, "dump/raw/test_en/wav.scp")} == {24000}
    results = json.loads((recipe / "exp/tiny_model/eval/test_en/results.json").read_text())
    original, made = (results["systems"][name]["metrics"] for name in ("original", "reconstruction"))
    assert original["sim"]["status"] == "reference"
    assert original["sim_prompt"]["count"] == made["sim_prompt"]["count"] == 3
    assert original["sim_prompt"]["value"] < 0.999  # another recording
    assert results["verification"]["speakers"] == 2
    assert results["codebook"]["train"]["status"] == "not run" and results["codebook"]["test"]["status"] == "measured"

    import paper_table

    readme = shutil.copy(recipe / "README.md", tmp_path / "README.md")
    paper_table.main([f"tiny={recipe / 'exp/tiny_model/eval/test_en/results.json'}", "--readme", str(readme)])
    rows = [line for line in (tmp_path / "README.md").read_text().splitlines() if line.startswith("| here, tiny")]
    assert rows[2] == (
        "| here, tiny: reconstruction (3 of 1,088) | 12.5 | 1 | 0.07 | - | - | not run | not run | not run |"
    )


def read_scp_in(folder, name):
    with contextlib.chdir(folder):
        return [type(item)(item.utt, str((folder / item.location).resolve())) for item in read_scp(name)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scored_model", "nowhere"], "nowhere: no config.yaml there"),
        (["--scored_model", "MODEL", "--skip_stages", "3 4 6 7"], "stage 5 trains or packs"),
        (["--scored_model", "MODEL", "--refine", "conf/refine/shortcut.yaml"], "has it packed"),
        ([], "stage 2"),
    ],
)
def test_bad_requests_of_a_scored_model(repository, tiny_model_dir, options, message):
    if not options:
        options = ["--scored_model", "MODEL", "--stage", "8"]  # nothing is prepared
    done = run(repository, *[tiny_model_dir if word == "MODEL" else word for word in options])
    assert done.returncode != 0 and message in done.stderr


def test_measured_cells_and_rates_are_filled_in():
    import paper_table

    def cell(value, spread, **others):
        return {"status": "measured", "value": value, "low": value - spread, "high": value + spread, **others}

    card = {"title": "WER, Whisper", "model": "whisper at 0123", "version": "5.0"}
    content = {
        "data": {"set": "test_en", "languages": ["en"], "utterances": 1088},
        "metrics": {"whisper_wer": card, "utmos": {"status": "not run", "reason": "no weights"}},
        "bits_per_second": {
            "status": "measured",
            "value": 700.0,
            "tokens_per_second": "50",
            "codebook_sizes": [16384] * 4,
        },
        "systems": {
            "original": {"metrics": {"whisper_wer": cell(0.0214, 0.002, excluded={"a": "why"})}},
            "reconstruction": {
                "metrics": {
                    "whisper_wer": cell(0.028, 0.005),
                    "wavlm_sim_prompt": cell(0.66, 0.01),
                    "utmos": cell(3.464, 0.1),
                }
            },
        },
    }
    text = paper_table.table({"": content})
    rows = text.splitlines()
    assert "| here: ground truth | - | - | - | - | - | not run | 2.14 [1.94, 2.34] (1 excluded) | not run |" in rows
    numbers = "3.46 [3.36, 3.56] | 2.80 [2.30, 3.30] | 0.660 [0.650, 0.670]"
    assert f"| here: reconstruction | 50 | 4 | 0.70 | - | - | {numbers} |" in rows
    assert "- WER, Whisper here: whisper at 0123, version 5.0" in rows
    content["data"]["utterances"] = 1087
    assert "| here: reconstruction (1,087 of 1,088) |" in paper_table.table({"": content})


@pytest.mark.parametrize(
    "change",
    [{"set": "test_zh"}, {"set": None}, {"languages": ["en", "zh"]}, {"utterances": 1089}, {"utterances": 0}],
)
def test_results_of_something_else_are_refused(tmp_path, change):
    import paper_table

    content = {"data": {"set": "test_en", "languages": ["en"], "utterances": 1088} | change}
    (tmp_path / "results.json").write_text(json.dumps(content))
    with pytest.raises(SystemExit, match="results.json is of .* the table is of test_en in English"):
        paper_table.main([str(tmp_path / "results.json")])


def test_the_page_has_the_papers_rows():
    """The README's rows are those of docs/paper.md, and the script makes its empty table."""
    import paper_table

    page, facts = (RECIPE / "README.md").read_text(), (ROOT / "docs/paper.md").read_text()
    assert f"{paper_table.BEGIN}\n\n{paper_table.table({})}\n\n{paper_table.END}" in page
    for row in paper_table.PAPER:
        assert f"| {' | '.join(row)} |" in facts.replace("**", "")
