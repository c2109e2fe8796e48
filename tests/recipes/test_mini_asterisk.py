"""The mini corpus: transcripts, the split, and data preparation from a miniature package tree."""

import gzip

import av
import numpy as np
import pytest
import soundfile
from check_data_dir import check
from hypothesis import given
from hypothesis import strategies as st
from prepare_asterisk import decode_g722
from prepare_asterisk import main as prepare_main
from prompt_text import clean, read_transcripts
from recipe_files import read_table
from split_no_overlap import linked_components, ngrams, split

from sitok_espnet.errors import SiTokError


@pytest.mark.parametrize(
    "raw, words",
    [
        ("That agent is already logged on.  Please try again!", "that agent is already logged on please try again"),
        ("press * to toggle pause, press # to enter", "press star to toggle pause press pound to enter"),
        ("Press 4 or 16", "press four or sixteen"),
        ("dial 500 ... a 28.8 kilobit modem", "dial five hundred a twenty eight point eight kilobit modem"),
        ("extension 1234", "extension one two three four"),
        ("It's your party's 'name'", "it's your party's name"),
        ("A.M.", "a m"),
        ("At 3 P.M. exactly", "at three p m exactly"),
        ("H.323", "h three two three"),
        ("3D audio", "three d audio"),
        ("visit www.asterisk.org.", "visit w w w dot asterisk dot org"),
        ("dash [-]", "dash"),
        ('IAX (note: does not say "2")', "iax"),
        ("De-activated.", "de activated"),
        ("fourtieth", "fortieth"),
    ],
)
def test_transcripts_as_spoken(raw, words):
    assert clean(raw).words == words


@pytest.mark.parametrize(
    "raw, reason",
    [
        ("[this is a simple beep tone]", "beep"),
        ("<beep ascending>", "beep"),
        ("(10 seconds of silence)", "silence"),
        ("Hang up. (simple tone sound plays)", "sound"),
        ("...", "no words"),
        ("[@]", "no words"),
    ],
)
def test_what_is_not_speech_is_left_out_with_a_reason(raw, reason):
    cleaned = clean(raw)
    assert cleaned.words is None
    assert reason in cleaned.reason


def test_transcript_list(tmp_path):
    path = tmp_path / "list.txt.gz"
    path.write_bytes(gzip.compress("\ufeff; comment\n\na/b: Hello: you\nc:\n".encode()))
    assert read_transcripts(path) == {"a/b": "Hello: you", "c": ""}
    for bad, message in (("no colon here\n", ":1: expected"), ("a: x\na: y\n", "occurs twice")):
        path.write_bytes(gzip.compress(bad.encode()))
        with pytest.raises(SiTokError, match=message):
            read_transcripts(path)


def test_linked_directly_through_others_and_by_equal_text():
    texts = {
        "a": "one two three four five",
        "b": "two three four five six seven",
        "c": "four five six seven eight",
        "d": "yes",
        "e": "no",
        "f": "yes",
        "g": "one two three",
    }
    assert linked_components(texts) == [["a", "b", "c"], ["d", "f"], ["e"], ["g"]]


def corpora():
    sentence = st.lists(st.sampled_from("abcde"), min_size=1, max_size=9).map(" ".join)
    return st.lists(sentence, min_size=1, max_size=60).map(
        lambda lines: {f"u{i}": text for i, text in enumerate(lines)}
    )


@given(corpora(), st.integers(0, 8), st.integers(0, 5))
def test_no_text_and_no_4gram_in_two_sets(texts, test_size, dev_size):
    sets = split(texts, {"test": test_size, "dev": dev_size}, rest="train")
    assert sorted(key for keys in sets.values() for key in keys) == sorted(texts)
    assert len(sets["test"]) <= test_size and len(sets["dev"]) <= dev_size
    for name, keys in sets.items():
        others = [texts[key] for other, rest in sets.items() if other != name for key in rest]
        assert not {texts[key] for key in keys} & set(others)
        shared = set().union(*(ngrams(t) for t in others)) if others else set()
        assert not shared & set().union(set(), *(ngrams(texts[key]) for key in keys))


@given(corpora(), st.randoms(use_true_random=False))
def test_the_split_does_not_depend_on_order(texts, random):
    keys = list(texts)
    random.shuffle(keys)
    sizes = {"test": 5, "dev": 3}
    assert split({k: texts[k] for k in keys}, sizes, rest="train") == split(texts, sizes, rest="train")


def test_the_split_is_the_same_on_every_machine():
    # sha256sum of the words: 09 echo, 4f delta, 62 golf, 8d hotel, 8e alpha, 95 foxtrot, b9 charlie, f1 bravo.
    texts = {name: name for name in "alpha bravo charlie delta echo foxtrot golf hotel".split()}
    assert split(texts, {"test": 2, "dev": 1}, rest="train") == {
        "test": ["delta", "echo"],
        "dev": ["golf"],
        "train": ["alpha", "bravo", "charlie", "foxtrot", "hotel"],
    }


def test_held_out_sets_take_neither_big_groups_nor_other_lengths():
    family = {f"f{i}": f"please press the key number{i}" for i in range(3)}
    texts = {**family, "x": "hello", "y": "good bye now", "z": "w " * 9 + "end"}
    sets = split(texts, {"test": 10}, rest="train", held_out_words=range(2, 8), held_out_group=2)
    assert sets == {"test": ["y"], "train": ["f0", "f1", "f2", "x", "z"]}


VOICE = "usr/share/asterisk/sounds/en_US_f_Allison"
LIST = "usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
PROMPTS = {
    "hello": "Hello there, caller.",
    "digits/1": "one",
    "vm-options": "Press 1 to record a message, press 2 to listen to it.",
    "vm-again": "Press 2 to listen to it again.",
    "beep": "[beep]",
    "no-recording": "This one was never said.",
    "goodbye": "Good bye and thanks.",
    "silence/1": "(1 second of silence)",
}


def encode_g722(path, samples: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="g722") as container:
        stream = container.add_stream("g722", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = 16000
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


@pytest.fixture
def tree(tmp_path):
    """A package tree of seven recordings (0.5 s tones) and the list of eight prompts."""
    for i, key in enumerate(sorted(set(PROMPTS) - {"no-recording"})):
        tone = 8000 * np.sin(2 * np.pi * (200 + 50 * i) * np.arange(8000) / 16000)
        encode_g722(tmp_path / "tree" / VOICE / f"{key}.g722", tone.astype(np.int16))
    path = tmp_path / "tree" / LIST
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress("".join(f"{k}: {v}\n" for k, v in PROMPTS.items()).encode()))
    return tmp_path / "tree"


def prepare(tree):
    root = tree.parent
    options = {
        "--tree": tree,
        "--audio_dir": root / "audio",
        "--data_dir": root / "data",
        "--test_size": 1,
        "--dev_size": 1,
    }
    prepare_main([str(word) for pair in options.items() for word in pair])
    return root / "data"


def test_g722_is_decoded_to_16_khz(tree):
    samples = decode_g722(tree / VOICE / "beep.g722")
    assert samples.dtype == np.int16 and len(samples) == 8000
    spectrum = np.abs(np.fft.rfft(samples[1000:]))
    assert abs(np.argmax(spectrum) * 16000 / 7000 - 200) < 3


def test_preparation_of_a_miniature_corpus(tree, capsys):
    data = prepare(tree)
    out = capsys.readouterr().out
    assert "2 left out: a beep, another sound or silence" in out
    assert "1 left out: a transcript without a recording" in out
    texts = {}
    for name in ("train", "dev", "test"):
        texts[name] = read_table(data / name / "text")
        assert check(data / name) == len(texts[name])
    prefix = "en-US-f-Allison-"
    assert {**texts["train"], **texts["dev"], **texts["test"]} == {
        f"{prefix}hello": "hello there caller",
        f"{prefix}digits-1": "one",
        f"{prefix}vm-options": "press one to record a message press two to listen to it",
        f"{prefix}vm-again": "press two to listen to it again",
        f"{prefix}goodbye": "good bye and thanks",
    }
    # The two that share a 4-gram stay together, and would overshoot a set of one; a single word is not held out.
    assert set(texts["train"]) == {f"{prefix}digits-1", f"{prefix}vm-options", f"{prefix}vm-again"}
    path = read_table(data / "train/wav.scp")[f"{prefix}digits-1"]
    decoded, rate = soundfile.read(path, dtype="int16")
    assert rate == 16000
    np.testing.assert_array_equal(decoded, decode_g722(tree / VOICE / "digits/1.g722"))


def test_preparation_again_gives_the_same_bytes(tree):
    def content():
        return {p: p.read_bytes() for d in ("data", "audio") for p in (tree.parent / d).rglob("*") if p.is_file()}

    prepare(tree)
    before = content()
    prepare(tree)
    assert content() == before


@pytest.mark.parametrize("gone", [VOICE, LIST])
def test_a_missing_package_is_named(tree, gone):
    (tree / gone).rename(tree / "elsewhere")
    with pytest.raises(SystemExit, match="both packages of the language are needed"):
        prepare(tree)


def test_an_empty_recording_is_left_out_and_counted(tree, capsys):
    (tree / VOICE / "hello.g722").write_bytes(b"")
    data = prepare(tree)
    assert "1 left out: an empty recording (0 bytes)" in capsys.readouterr().out
    assert not [key for name in ("train", "dev", "test") for key in read_table(data / name / "text") if "hello" in key]


def test_a_recording_without_audio_is_named(tmp_path):
    (tmp_path / "hello.g722").write_bytes(b"")
    with pytest.raises(SiTokError, match="hello.g722"):
        decode_g722(tmp_path / "hello.g722")
