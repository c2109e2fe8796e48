"""The prompts in five languages: texts as spoken, faults of the lists, speakers, sets and licences."""

import gzip

import numpy as np
import pytest
from prepare_asterisk import licence_text
from prepare_asterisk import main as prepare_main
from prompt_languages import LANGUAGES
from prompt_text import clean, read_transcripts
from recipe_files import read_table
from split_no_overlap import ngrams
from test_mini_asterisk import encode_g722

from sitok_espnet.errors import SiTokError


@pytest.mark.parametrize(
    "lang, raw, words",
    [
        ("es", "Por favor presione 1 o 500.", "por favor presione uno o quinientos"),
        ("es", "Trés números: 28,8", "tres números veintiocho punto ocho"),
        ("es", "su NUMERO de telefono, mañana", "su número de teléfono mañana"),
        ("es", "En que carpeta? numeroso", "en qué carpeta numeroso"),
        (
            "fr",
            "Pour l’aide, appuyez sur *, sur # ou sur 21.",
            "pour l'aide appuyez sur étoile sur dièse ou sur vingt et un",
        ),
        ("fr", "À l'été, s'il-vous-plaît", "à l'été s'il vous plaît"),
        ("it", "La conferenza ? piena, cos? non pu? essere", "la conferenza è piena così non può essere"),
        ("it", "Premere 3. E' in uso.", "premere tre è in uso"),
        ("it", "dollaro [$] (in inglese)", "dollaro"),
        ("ru", "Нажмите 1 или решётку; Эй", "нажмите один или решетку эй"),
        ("ru", "«Эхо-тест» на скорости 28,8", "эхо тест на скорости двадцать восемь целых восемь десятых"),
        # A letter and its accent as two code points are one letter.
        ("fr", "e\N{COMBINING ACUTE ACCENT}te\N{COMBINING ACUTE ACCENT}", "été"),
    ],
)
def test_transcripts_as_spoken(lang, raw, words):
    assert clean(raw, lang).words == words


@pytest.mark.parametrize(
    "lang, raw", [("es", "[ tono de error ]"), ("fr", "(beep)"), ("it", "(1 secondo di silenzio)")]
)
def test_what_is_not_speech_is_left_out(lang, raw):
    assert clean(raw, lang).words is None


def test_all_corrections_are_of_something():
    for rules in LANGUAGES.values():
        for wrong, right in [*rules.fragments.items(), *rules.words.items(), *rules.lines.items()]:
            assert wrong != right
        assert all(" " not in word for word in rules.words)
        # The right-hand side must not be corrected again: a second pass would change the text.
        assert not set(rules.words) & set(rules.words.values())


def test_unknown_language():
    with pytest.raises(SiTokError, match="--langs de: the prompt languages are en, es, fr, it, ru"):
        clean("Hallo", "de")


def test_faults_of_the_lists(tmp_path):
    path = tmp_path / "list.txt.gz"
    path.write_bytes(gzip.compress("\ufeffdigits/0: cero\ndigits/0: diez\n".encode()))
    assert read_transcripts(path, "es") == {"digits/0": "cero", "digits/10": "diez"}
    with pytest.raises(SiTokError, match="occurs twice"):
        read_transcripts(path, "fr")
    path.write_bytes(gzip.compress(b"a-b: a-b: one\nc: two. vm-then-pound: three\nd: vm: four\n"))
    assert read_transcripts(path) == {"a-b": "one", "c": "two.", "d": "vm: four"}


VOICES = {"en": "en_US_f_Allison", "es": "es_MX_f_Allison", "ru": "ru_RU_f_X"}
PROMPTS = {
    "en": {"a": "hello there caller", "b": "good bye and thanks", "c/d": "please press the pound key", "e": "one"},
    "es": {"a": "hola y buenos dias", "b": "hasta luego y gracias", "c/d": "presione la tecla azul", "e": "uno"},
    "ru": {"a": "добрый день всем", "b": "до свидания мой друг", "c/d": "нажмите одну клавишу", "e": "один", "is": ""},
}


@pytest.fixture
def tree(tmp_path):
    """The packages of three languages, unpacked into one tree; one recording is empty."""
    for lang, prompts in PROMPTS.items():
        for i, key in enumerate(prompts):
            tone = (8000 * np.sin((i + 1) * np.arange(3200) / 20)).astype(np.int16)
            encode_g722(tmp_path / f"tree/usr/share/asterisk/sounds/{VOICES[lang]}/{key}.g722", tone)
        path = tmp_path / f"tree/usr/share/doc/asterisk-core-sounds-{lang}/core-sounds-{lang}.txt.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(gzip.compress("".join(f"{k}: {v}\n" for k, v in prompts.items()).encode()))
    (tmp_path / f"tree/usr/share/asterisk/sounds/{VOICES['ru']}/is.g722").write_bytes(b"")
    return tmp_path / "tree"


def prepare(tree, name, *langs):
    root = tree.parent
    options = ["--tree", tree, "--audio_dir", root / "audio", "--data_dir", root / name, "--test_size", 1]
    prepare_main([str(word) for word in [*options, "--dev_size", 1, "--langs", *langs]])
    return root / name


def test_sets_and_speakers_of_three_languages(tree, capsys):
    data = prepare(tree, "data", "en", "es", "ru")
    report = capsys.readouterr().out.splitlines()
    assert "ru: 1 left out: an empty recording (0 bytes)" in report
    assert sum(line.startswith("dev: 3 utterances, ") for line in report) == 1
    assert sorted(path.parent.name for path in data.glob("*/wav.scp")) == ["dev", "test", "test_es", "test_ru", "train"]
    texts = {path.parent.name: read_table(path) for path in data.glob("*/text")}
    assert [len(texts[name]) for name in ("train", "dev", "test", "test_es", "test_ru")] == [6, 3, 1, 1, 1]
    everything = {key: text for table in texts.values() for key, text in table.items()}
    assert len(everything) == 12
    assert everything["en-US-f-Allison-es-c-d"] == "presione la tecla azul"
    # Both voices of Allison are one speaker, and sorting by utterance sorts by speaker.
    speakers = read_table(data / "train/utt2spk")
    assert set(speakers.values()) == {"en-US-f-Allison", "ru-RU-f-X"}
    assert all(utterance.startswith(f"{speaker}-") for utterance, speaker in speakers.items())
    assert read_table(data / "test_es/utt2lang") == dict.fromkeys(texts["test_es"], "es")
    assert set(read_table(data / "dev/utt2lang").values()) == {"en", "es", "ru"}
    # Within a language no text and no 4-gram is in two sets; nothing is promised between languages (README.md).
    lang_of = {key: lang for name in texts for key, lang in read_table(data / name / "utt2lang").items()}
    for lang in ("en", "es", "ru"):
        for name, table in texts.items():
            own = [text for key, text in table.items() if lang_of[key] == lang]
            others = [
                text for other in texts if other != name for key, text in texts[other].items() if lang_of[key] == lang
            ]
            assert not set(own) & set(others)
            assert not set().union(*map(ngrams, own)) & set().union(*map(ngrams, others))


def test_a_text_of_two_languages_may_be_in_two_sets(tree):
    """The split of a language does not know the others: what is held out in one can be trained on in another."""
    path = tree / "usr/share/doc/asterisk-core-sounds-es/core-sounds-es.txt.gz"
    english, spanish = (prepare(tree, f"alone_{lang}", lang) for lang in ("en", "es"))
    held_out = next(iter(read_table(english / "test/text").values()))
    for key in read_table(spanish / "train/text"):  # the same words, in the Spanish training set
        name = key.removeprefix("en-US-f-Allison-es-").replace("c-d", "c/d")
        path.write_bytes(
            gzip.compress("".join(f"{k}: {held_out if k == name else v}\n" for k, v in PROMPTS["es"].items()).encode())
        )
        both = prepare(tree, f"both_{key}", "en", "es")
        assert read_table(both / "test/text").items() == read_table(english / "test/text").items()
        assert held_out in [
            text for table in ("train", "dev", "test_es") for text in read_table(both / table / "text").values()
        ]


def test_a_language_has_the_same_sets_alone_and_among_others(tree):
    alone, among = prepare(tree, "alone", "en"), prepare(tree, "among", "en", "es")
    english = {f"en-US-f-Allison-{key}" for key in ("a", "b", "c-d", "e")}
    for name in ("train", "dev", "test"):
        for table in ("wav.scp", "text", "utt2spk"):
            kept = {k: v for k, v in read_table(among / name / table).items() if k in english}
            assert kept == read_table(alone / name / table)
        assert not (alone / name / "utt2lang").exists()


@pytest.mark.parametrize(
    "langs, message", [(["en", "en"], "named twice"), (["xx"], "the languages of this corpus are en, es")]
)
def test_bad_languages(tree, langs, message):
    with pytest.raises(SystemExit, match=message):
        prepare(tree, "data", *langs)


@pytest.mark.parametrize(
    "langs, whole",
    [(["en", "ru"], "is CC BY-SA 3.0"), (["it", "ru"], "is CC BY 3.0"), (["fr"], "is CC BY-SA 3.0")],
)
def test_licence_of_the_combination(langs, whole):
    text = licence_text(langs)
    assert whole in text
    for lang in LANGUAGES:
        assert (f"asterisk-core-sounds-{lang}-g722 and asterisk-core-sounds-{lang}\n" in text) == (lang in langs)
        assert (LANGUAGES[lang].credit in text) or lang not in langs
    assert ("licenses/by/3.0" in text) == ("ru" in langs)
    assert ("licenses/by-sa/3.0" in text) == bool({"en", "es", "fr"} & set(langs))
