"""Tasks of the mini probe recipe from miniature data of its parent recipes."""

import json
from pathlib import Path

import numpy as np
import prepare_tasks
import pytest
import soundfile
from check_data_dir import check
from recipe_files import read_table, write_data_dir
from word_clips import WordClip

VOICES = {"en": "en-A", "es": "en-A", "fr": "fr-B", "it": "it-C", "ru": "ru-D"}
SETS = {
    "train": VOICES,
    "dev": VOICES,
    "test": ("en",),
    **{f"test_{lang}": (lang,) for lang in ("es", "fr", "it", "ru")},
}


def write_set(root: Path, name: str, members: dict[str, tuple[str, str]]) -> None:
    """id -> (speaker, language) as stage 2 of a tokenizer recipe leaves it; paths relative to the recipe."""
    wavs = {utt: f"dump/raw/{name}/audio/{utt}.flac" for utt in members}
    texts = {utt: "please press one" if n % 2 else "call your conference" for n, utt in enumerate(members)}
    speakers, languages = ({utt: item[i] for utt, item in members.items()} for i in (0, 1))
    write_data_dir(root / name, wavs, speakers, texts, utt2lang=languages)


@pytest.fixture
def recipes(tmp_path) -> Path:
    for name, langs in SETS.items():
        count = 16 if name == "train" else 3
        members = {f"{VOICES[lang]}-{lang}-{name}{n}": (VOICES[lang], lang) for lang in langs for n in range(count)}
        write_set(tmp_path / "asterisk/dump/raw", name, members)
    for name in ("train", "dev", "test"):
        voices = (*prepare_tasks.FILLETS_VOICES, "fillets-cs-crab")
        write_set(tmp_path / "fillets/dump/raw", name, {f"{s}-{name}{n}": (s, "cs") for s in voices for n in range(3)})
    return tmp_path


class StandInAligner:
    """Every wanted word, as long as its place in the text says."""

    def __init__(self, texts):
        assert all("press" in text or "call" in text for text in texts)

    def clips(self, path, text, wanted):
        for number, word in enumerate(text.split()):
            if word in wanted:
                yield WordClip(word, number, np.zeros(1000 + number, dtype=np.float32), 24000)


@pytest.fixture
def run(recipes, monkeypatch):
    monkeypatch.setattr(prepare_tasks, "Aligner", StandInAligner)
    monkeypatch.setattr(prepare_tasks, "TRAIN_LIMIT", 3)

    def call(fillets="fillets"):
        raw = [str(recipes / name / "dump/raw") for name in ("asterisk", fillets)]
        data = recipes / "data"
        prepare_tasks.main(["--asterisk", raw[0], "--fillets", raw[1], "--data_dir", str(data)])
        return data

    return call


def targets(data: Path, task: str) -> dict[str, dict[str, str]]:
    return {phase: read_table(data / f"tasks/{task}/{phase}/target") for phase in ("train", "valid", "test")}


def test_tasks_of_the_mini_recipe(run, recipes):
    data = run()
    check(data / "pool")
    wavs = read_table(data / "pool/wav.scp")
    assert wavs["fr-B-fr-dev0"] == f"{recipes}/asterisk/dump/raw/dev/audio/fr-B-fr-dev0.flac"
    languages = targets(data, "language")
    assert {p: len(m) for p, m in languages.items()} == {"train": 15, "valid": 15, "test": 15}  # 3 a language
    assert set(languages["test"].values()) == set(VOICES)
    pair = targets(data, "language_en_es")
    assert all(utt.startswith("en-A") for members in pair.values() for utt in members)
    assert set(pair["train"].values()) == {"en", "es"}
    assert all("-en-" in utt for members in targets(data, "asr_ctc").values() for utt in members)
    assert targets(data, "asr_ctc") == targets(data, "asr_lm")


def test_verification_pairs_stay_within_a_corpus_and_known_voices(run):
    data = run()
    sets = targets(data, "speaker_verification")
    voices = {"en-A", "fr-B", "it-C", "ru-D", *prepare_tasks.FILLETS_VOICES}
    assert set(sets["train"].values()) == set(sets["test"].values()) == voices
    rows = [line.split() for line in (data / "tasks/speaker_verification/trials").read_text().splitlines()]
    for enrolment, test, kind in rows:
        assert enrolment.startswith("fillets") == test.startswith("fillets") and enrolment != test
        assert (sets["test"][enrolment] == sets["test"][test]) == (kind == "target")
    note = json.loads((data / "tasks/speaker_verification/task.json").read_text())["note"]
    assert "the 6 voices" in note


def test_without_the_czech_voices(run, capsys):
    assert len(set(targets(run("nowhere"), "speaker_verification")["train"].values())) == 4
    assert "no Czech voices" in capsys.readouterr().out


def test_keywords_are_cut_and_held_out_by_their_prompt(run):
    data = run()
    sets = targets(data, "keyword")
    prompts = {phase: {utt.split("-word")[0] for utt in members} for phase, members in sets.items()}
    held_out = {f"en-A-en-{name}{n}" for name in ("dev", "test") for n in range(3)}
    assert prompts["test"] == held_out and not prompts["train"] & prompts["valid"]
    assert set(sets["test"].values()) == {"please", "press", "one", "call", "your", "conference"}
    path = read_table(data / "pool/wav.scp")["en-A-en-test0-word000"]
    assert len(soundfile.read(path)[0]) == 1000


def test_missing_data_says_which_recipe_makes_it(run, recipes):
    (recipes / "asterisk/dump/raw/test_ru/utt2lang").unlink()
    with pytest.raises(SystemExit, match="test_ru/utt2lang missing"):
        run()
