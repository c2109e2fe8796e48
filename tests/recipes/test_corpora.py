"""LibriSpeech, LibriTTS and LJSpeech from miniature look-alikes: what comes out, and what copies are refused."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import corpus_trees
import prepare_librispeech_sets
import prepare_libritts
import prepare_ljspeech
import pytest
import soundfile
from check_data_dir import check
from format_wav_scp import Limits, format_data_dir
from local_corpus import audio_fault, words_of
from recipe_files import read_table
from stand_in_recipe import ROOT, make_repository

from sitok_espnet.bin import sitok_dump

PREPARE = {
    "librispeech": prepare_librispeech_sets.main,
    "libritts": prepare_libritts.main,
    "ljspeech": prepare_ljspeech.main,
}
FOLDERS = {"librispeech": "LibriSpeech", "libritts": "LibriTTS", "ljspeech": "LJSpeech-1.1"}


def run(name: str, tmp_path: Path, *options: str) -> Path:
    words = ["--downloads", str(tmp_path / FOLDERS[name]), "--data_dir", str(tmp_path / "data")]
    PREPARE[name]([*words, *(() if "--partial" in options else ("--partial", "true")), *options])
    return tmp_path / "data"


def refused(name: str, tmp_path: Path, *options: str) -> str:
    with pytest.raises(SystemExit) as caught:
        run(name, tmp_path, *options)
    assert not list((tmp_path / "data").glob("*/wav.scp"))
    return str(caught.value)


@pytest.fixture(params=FOLDERS)
def corpus(request, tmp_path) -> str:
    corpus_trees.TREES[request.param](tmp_path / FOLDERS[request.param])
    return request.param


@pytest.fixture
def libritts(tmp_path) -> Path:
    return corpus_trees.libritts(tmp_path / "LibriTTS")


@pytest.fixture
def librispeech(tmp_path) -> Path:
    return corpus_trees.librispeech(tmp_path / "LibriSpeech")


@pytest.fixture
def ljspeech(tmp_path) -> Path:
    return corpus_trees.ljspeech(tmp_path / "LJSpeech-1.1")


def texts(data: Path) -> dict[str, dict[str, str]]:
    return {path.parent.name: read_table(path) for path in sorted(data.glob("*/text"))}


def test_librispeech(librispeech, tmp_path):
    found = texts(run("librispeech", tmp_path))
    said = ("chapter one", "missus lynde's house")
    expected = {"train": {}, "dev": {}, "test_clean": {}, "test_other": {}}
    for subset, chapters in corpus_trees.LIBRISPEECH.items():
        name = subset.replace("-", "_") if subset.startswith("test") else subset.partition("-")[0]
        for speaker, chapter in chapters:
            expected[name] |= {f"{speaker}-{chapter}-{n:04d}": text for n, text in enumerate(said)}
    assert found == expected
    data = tmp_path / "data"
    assert read_table(data / "train/utt2spk")["19-198-0001"] == "19"
    assert read_table(data / "train/wav.scp")["19-198-0001"] == str(
        librispeech / "train-clean-100/19/198/19-198-0001.flac"
    )


def test_libritts(libritts, tmp_path):
    found = texts(run("libritts", tmp_path))
    said = ("mister blake and i she said", "it's eighteen forty seven don't", "a very long day café")
    expected = {"train": {}, "dev": {}, "test_clean": {}, "test_other": {}}
    for subset, speakers in corpus_trees.LIBRITTS.items():
        name = subset.replace("-", "_") if subset.startswith("test") else subset.partition("-")[0]
        for speaker in speakers:
            expected[name] |= {f"{speaker}_208_{n:06d}_000000": text for n, text in enumerate(said, 1)}
    assert found == expected
    assert read_table(tmp_path / "data/train/utt2spk")["103_208_000002_000000"] == "103"
    assert "LibriTTS, https" in (tmp_path / "data/LICENSE.txt").read_text()


def test_libritts_as_printed_and_less_of_it(libritts, tmp_path):
    shutil.rmtree(libritts / "train-other-500")
    shutil.rmtree(libritts / "test-other")
    options = ["--train_subsets", "train-clean-100", "train-clean-360", "--test_subsets", "test-clean"]
    found = texts(run("libritts", tmp_path, "--text", "original", *options))
    assert found.keys() == {"train", "dev", "test_clean"}
    assert {utterance.split("_")[0] for utterance in found["train"]} == {"103", "19", "100"}
    assert list(found["dev"].values()) == [original for original, _ in corpus_trees.LIBRITTS_TEXTS]


def test_libritts_r_is_the_other_release(libritts, tmp_path):
    other = libritts.with_name("LibriTTS_R")
    libritts.rename(other)
    words = ["--data_dir", str(tmp_path / "data"), "--downloads", str(other)]
    PREPARE["libritts"]([*words, "--release", "LibriTTS_R"])
    assert "6 utterances in train-clean-100 (how many" in (tmp_path / "data/PREPARATION.txt").read_text()
    assert "LibriTTS-R" in (tmp_path / "data/LICENSE.txt").read_text()
    with pytest.raises(SystemExit, match="LibriTTS_R is not --release LibriTTS:"):
        PREPARE["libritts"](words)


def test_ljspeech_holds_out_whole_chapters(ljspeech, tmp_path):
    assert texts(run("ljspeech", tmp_path)) == {
        "train": {
            "LJ001-0001": "printing in the only sense",
            "LJ001-0002": "in being five dollars",
            "LJ048-0001": "report of doctor x",
        },
        "dev": {"LJ049-0001": "chapter eight nineteen sixty three"},
        "test": {"LJ050-0001": "the commission's", "LJ050-0002": "end"},
    }
    assert set(read_table(tmp_path / "data/train/utt2spk").values()) == {"LJ"}


def test_good_directories_and_the_same_again(corpus, tmp_path):
    data = run(corpus, tmp_path)
    assert all(check(path.parent) for path in data.glob("*/wav.scp"))
    first = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    assert len(first) == 4 * len(list(data.glob("*/wav.scp"))) + 2
    run(corpus, tmp_path)
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == first
    # The folder above will do, too.
    PREPARE[corpus](["--downloads", str(tmp_path), "--data_dir", str(data), "--partial", "true"])
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == first


def test_fewer_utterances_than_published_must_be_asked_for(corpus, tmp_path):
    message = refused(corpus, tmp_path, "--partial", "false")
    assert "the whole corpus has" in message and '--local_data_opts "--partial true"' in message
    assert "PARTIAL: " in (run(corpus, tmp_path) / "PREPARATION.txt").read_text()


def test_a_failed_run_leaves_nothing_that_looks_finished(corpus, tmp_path):
    data = run(corpus, tmp_path)
    assert list(data.glob("*/wav.scp"))
    refused(corpus, tmp_path, "--partial", "false")  # asserts it


def test_a_missing_corpus_names_the_option(corpus, tmp_path):
    shutil.rmtree(tmp_path / FOLDERS[corpus])
    message = refused(corpus, tmp_path)
    assert re.search(f"does not exist: .*{corpus.upper()} in db.sh, or --downloads", message)
    assert "--download true" in message


@pytest.mark.parametrize("name", ["librispeech", "libritts"])
def test_a_missing_subset_is_named(name, tmp_path):
    corpus_trees.TREES[name](tmp_path / FOLDERS[name])
    shutil.rmtree(tmp_path / FOLDERS[name] / "train-other-500")
    message = refused(name, tmp_path)
    assert f"{FOLDERS[name]} has no train-other-500: copy it" in message and "--train_subsets" in message


def test_a_subset_in_two_sets_is_refused(librispeech, tmp_path):
    assert "dev-clean would be in two sets" in refused("librispeech", tmp_path, "--test_subsets", "dev-clean")


# Corpus, a file, what is done to it (None: removed), what the error says.
BREAKS = [
    ("librispeech", "dev-clean/84/121123/84-121123-0001.flac", None, "0001.flac is missing, .*: copy dev-clean again"),
    ("librispeech", "dev-clean/84/121123/84-121123.trans.txt", None, r"84-121123-0000.flac has no text in 84-121123"),
    ("librispeech", "dev-clean/84/121123/84-121123.trans.txt", "84-121123-0000 A\n", "0001.flac has no text in 84-"),
    ("librispeech", "dev-clean/84/121123/84-121123.trans.txt", "84-121123-0000\n", "trans.txt:1: expected an id of"),
    ("librispeech", "dev-clean/84/121123/84-121123.trans.txt", "84-121123-0000 A\n" * 2, ":2: 84-.* occurs twice"),
    ("librispeech", "test-other/367/130732/367-130732-0000.flac", "", "0000.flac is empty: copy test-other again"),
    ("librispeech", "test-other/367/130732/367-130732-0000.flac", 0.5, "0000.flac is .*cut off"),
    ("libritts", "test-clean/61/208/61_208_000002_000000.wav", None, "0002_000000.wav is missing, .*: copy test-clean"),
    ("libritts", "test-clean/61/208/61_208_000002_000000.normalized.txt", None, "normalized.txt is missing, but 61_"),
    ("libritts", "test-clean/61/208/61_208_000002_000000.normalized.txt", "", "normalized.txt is empty"),
    ("libritts", "test-clean/61/208/61_208_000002_000000.wav", "", "000002_000000.wav is empty"),
    ("libritts", "test-clean/61/208/61_208_000002_000000.wav", 0.5, "000002_000000.wav is cut off"),
    ("libritts", "test-clean/61/208/61_208_000002_000000.wav", 0.001, "000002_000000.wav is cut off"),
    ("ljspeech", "metadata.csv", None, "metadata.csv is missing: copy the corpus again"),
    ("ljspeech", "wavs/LJ048-0001.wav", None, "LJ048-0001.wav is missing, but metadata.csv has its text"),
    ("ljspeech", "wavs/LJ001-0009.wav", "no audio", "0009.wav has no text in metadata.csv; .*0009.wav is not readable"),
    ("ljspeech", "metadata.csv", "LJ001-0001|a|a\nLJ049-0001|a|a\n", "metadata.csv has nothing of LJ050, the test set"),
    ("ljspeech", "metadata.csv", "LJ001-0001|a|a\n", "metadata.csv has nothing of LJ049, the dev set"),
    ("ljspeech", "metadata.csv", "LJ001-0001|a\n", "metadata.csv:1: expected LJnnn-nnnn"),
    ("ljspeech", "metadata.csv", "LJ001-0001|a|\n", "metadata.csv:1: expected LJnnn-nnnn"),
    ("ljspeech", "metadata.csv", "LJ001-0001|a|a\n" * 2, "metadata.csv:2: LJ001-0001 occurs twice"),
    ("ljspeech", "wavs/LJ048-0001.wav", 0.9, "LJ048-0001.wav is cut off"),
]


@pytest.mark.parametrize("name, file, change, message", BREAKS, ids=[f"{b[1]}-{b[2]!r:.12}" for b in BREAKS])
def test_partial_copies(name, file, change, message, tmp_path):
    path = corpus_trees.TREES[name](tmp_path / FOLDERS[name]) / file
    if change is None:
        path.unlink()
    elif isinstance(change, float):
        whole = path.read_bytes()
        path.write_bytes(whole[: max(4, int(len(whole) * change))])
    else:
        path.write_text(change)
    said = refused(name, tmp_path)
    assert re.search(message, said), said


def test_all_that_is_wrong_is_in_one_error(libritts, tmp_path):
    for path in list(libritts.glob("dev-clean/84/208/84_*.normalized.txt"))[:2]:
        path.unlink()
    wrong = libritts / "dev-clean/84/208/84_209_000001_000000"
    corpus_trees.audio(Path(f"{wrong}.wav"), 16000)
    Path(f"{wrong}.normalized.txt").write_text("elsewhere")
    said = refused("libritts", tmp_path)
    assert said.count("normalized.txt is missing") == 2
    assert "is in the folder of 84_208" in said and "16000 Hz and 1 channels instead of 24000 Hz and one" in said


def test_audio_that_is_whole(tmp_path):
    for rate, name in ((24000, "a.wav"), (16000, "a.flac")):
        corpus_trees.audio(tmp_path / name, rate)
        assert audio_fault(tmp_path / name, rate) is None
    soundfile.write(tmp_path / "none.wav", [], 24000)
    assert "none.wav has no samples" in audio_fault(tmp_path / "none.wav", 24000)


def test_words():
    assert words_of("Rock’n’roll -- 'tis “No. 5”, A. B.") == "rock'n'roll tis no five a b"
    assert words_of("...") == ""


@pytest.fixture
def repository(tmp_path) -> Path:
    path = make_repository(tmp_path / "repository")
    leave = shutil.ignore_patterns("data", "dump", "exp", "downloads", "__pycache__")
    for name in (*(f"{corpus}/sitok1" for corpus in FOLDERS), "libritts/sitok_tts1"):
        shutil.copytree(ROOT / f"egs2/{name}", path / f"egs2/{name}", symlinks=True, ignore=leave)
    return path


def run_sh(recipe: Path, last: int, *options: str) -> subprocess.CompletedProcess:
    command = [recipe / "run.sh", "--stage", "1", "--stop_stage", str(last), "--nj", "1", *options]
    environment = {**os.environ, "SITOK_USE_ACTIVE_PYTHON": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd="/")


@pytest.mark.parametrize("name", FOLDERS)
def test_run_sh_prepares(name, repository, tmp_path):
    """Stage 1 of every recipe as a user starts it, stage 2 of one (each of its sets takes seconds)."""
    corpus_trees.TREES[name](tmp_path / FOLDERS[name])
    recipe = repository / f"egs2/{name}/sitok1"
    options = ["--downloads", str(tmp_path / FOLDERS[name])]
    done = run_sh(recipe, 1, *options)
    assert done.returncode != 0 and "the whole corpus has" in done.stderr
    formatted = name == "librispeech"
    if formatted:
        options += ["--test_sets", "test_clean"]
    done = run_sh(recipe, 2 if formatted else 1, *options, "--local_data_opts", "--partial true")
    assert done.returncode == 0, done.stderr
    sets = {"train", "dev", "test"} if name == "ljspeech" else {"train", "dev", "test_clean", "test_other"}
    assert {path.parent.name for path in recipe.glob("data/*/wav.scp")} == sets
    for set_ in ("train", "dev", "test_clean") if formatted else ():
        samples = read_table(recipe / f"dump/raw/{set_}/utt2num_samples")
        assert samples.keys() == read_table(recipe / f"data/{set_}/wav.scp").keys()
        info = soundfile.info(recipe / next(iter(read_table(recipe / f"dump/raw/{set_}/wav.scp").values())))
        assert (info.samplerate, info.channels) == (24000, 1)


def test_libritts_prompts_are_of_the_same_speaker(libritts, repository, tiny_model_dir, tmp_path):
    """Stages 1 and 2 of sitok_tts1 on the token dump that sitok1 leaves (here a tiny model's)."""
    sitok = repository / "egs2/libritts/sitok1"
    data = run("libritts", tmp_path)
    for name in ("train", "dev", "test_clean"):
        raw, tokens = sitok / f"dump/raw/{name}", sitok / f"dump/tokens/S_bpe4000/{name}"
        format_data_dir(data / name, raw, 24000, Limits(), 1)
        words = ["--model", tiny_model_dir, "--wav_scp", raw / "wav.scp", "--output_dir", tokens]
        assert not sitok_dump.main([str(word) for word in words])
    recipe = repository / "egs2/libritts/sitok_tts1"
    done = run_sh(recipe, 2)
    assert done.returncode == 0, done.stderr
    sets = recipe / "dump/tts/S_bpe4000"
    prompts, speakers = read_table(sets / "test_clean/prompts"), read_table(sets / "test_clean/utt2spk")
    assert prompts.keys() == speakers.keys() == read_table(data / "test_clean/wav.scp").keys()
    said = read_table(sets / "test_clean/text")
    for utterance, prompt in prompts.items():
        assert prompt != utterance and speakers[prompt] == speakers[utterance]
        assert read_table(sets / "test_clean/prompt_text")[utterance] == said[prompt]
    # No speaker of the test set has been trained on.
    assert not set(speakers.values()) & set(read_table(sets / "train/utt2spk").values())
