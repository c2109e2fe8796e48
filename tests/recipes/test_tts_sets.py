"""Prompts of a test set: whose, how long, and that nothing but the two utterances decides."""

import random

import numpy as np
import pytest
import soundfile
from recipe_files import read_table, write_table
from tts_sets import PROMPT_SECONDS, Utterance, choose_prompts, main

from sitok_espnet.dump import dump_tokens
from sitok_espnet.inputs import read_scp

LOW, HIGH = PROMPT_SECONDS


def utterance(speaker="a", seconds=3.0, text=None, language=""):
    return Utterance(speaker, language, text or f"{speaker} {seconds}", "wav", "ark:1", int(seconds * 24000), seconds)


def some(seed, count=30, speakers="abc"):
    rng = random.Random(seed)
    return {f"{seed}-{n}": utterance(rng.choice(speakers), rng.uniform(0.5, 12), f"text {n}") for n in range(count)}


def test_another_utterance_of_the_same_speaker_of_the_right_length_where_there_is_one():
    test, train = some(1), some(2)
    prompts = choose_prompts(test, [test, train])
    everything = test | train
    assert prompts.keys() == test.keys()
    for utt, other in prompts.items():
        assert other != utt and everything[other].speaker == test[utt].speaker
        good = [
            name
            for name, item in everything.items()
            if item.speaker == test[utt].speaker and name != utt and LOW <= item.seconds <= HIGH
        ]
        assert good and other in good
        # The test set goes first.
        assert other in test or not set(good) & set(test)
    assert len(set(prompts.values())) > 3  # not one prompt for all


def test_order_and_other_utterances_do_not_matter():
    test, train = some(1), some(2)
    expected = choose_prompts(test, [test, train])
    shuffled = list(test.items())
    random.Random(0).shuffle(shuffled)
    assert choose_prompts(dict(shuffled), [dict(shuffled), train]) == expected
    utt = next(iter(test))
    assert choose_prompts({utt: test[utt]}, [test, train]) == {utt: expected[utt]}
    strangers = {f"z{n}": utterance("z") for n in range(3)}
    assert choose_prompts(test, [test | strangers, train]) == expected


def test_the_nearest_length_another_text_and_the_same_language():
    wanted = {"u": utterance(text="hello")}
    pool = {"u": wanted["u"], "short": utterance(seconds=1.0), "long": utterance(seconds=6.5)}
    assert choose_prompts(wanted, [pool]) == {"u": "long"}  # half a second too long, a second too short
    same = {"u": wanted["u"], "same": utterance(text="hello"), "other": utterance(text="bye")}
    assert choose_prompts(wanted, [same]) == {"u": "other"}
    # Its tokens could be copied: rather an utterance too long, or from training, or none at all.
    same["same"] = utterance(text="Hello!")
    assert choose_prompts(wanted, [{"u": wanted["u"], "same": same["same"]}]) == {}
    longer = {"long": utterance(seconds=6.05, text="bye")}
    assert choose_prompts(wanted, [{"u": wanted["u"], "same": same["same"]}, longer]) == {"u": "long"}
    spanish = {"u": utterance(language="es"), "en": utterance(language="en"), "es": utterance(language="es", seconds=1)}
    assert choose_prompts({"u": spanish["u"]}, [spanish]) == {"u": "es"}


def test_who_has_no_other_utterance_is_left_out():
    assert choose_prompts({"u": utterance("a")}, [{"u": utterance("a")}, {"v": utterance("b")}]) == {}


def test_every_utterance_that_is_left_out_is_named_with_the_reason(tiny_tokenizer, tmp_path):
    said = {"a1": "one two", "a2": "three", "a3": "", "b1": "alone", "c1": "twice", "c2": "Twice."}
    for utt in said:
        soundfile.write(tmp_path / f"{utt}.wav", 0.1 * np.random.default_rng(0).standard_normal(4800), 24000)
    write_table(tmp_path / "wav.scp", {utt: tmp_path / f"{utt}.wav" for utt in said})
    write_table(tmp_path / "text", said)
    write_table(tmp_path / "utt2spk", {utt: utt[0] for utt in said})
    write_table(tmp_path / "utt2num_samples", dict.fromkeys(said, 4800))
    dump_tokens(tiny_tokenizer, read_scp(tmp_path / "wav.scp"), tmp_path / "tokens", progress=False)
    places = [str(tmp_path), str(tmp_path / "tokens")]
    main(["--data_dir", places[0], "--tokens", places[1], "--out_dir", f"{tmp_path}/set", "--prompts_from", *places])
    assert read_table(tmp_path / "set/prompts") == {"a1": "a2", "a2": "a1"}
    none = "no prompt: nothing else of this speaker"
    assert read_table(tmp_path / "set/left_out") == {"a3": "no transcript", "b1": none, "c1": none, "c2": none}
    # Several sets as one: with the same utterances at another speed, here by another name only.
    other = tmp_path / "other"
    for name in ("wav.scp", "text", "utt2spk", "utt2num_samples"):
        table = read_table(tmp_path / name, allow_empty_value=True)
        write_table(other / name, {f"sp0.9-{utt}": value for utt, value in table.items()})
    dump_tokens(tiny_tokenizer, read_scp(other / "wav.scp"), other / "tokens", progress=False)
    both = [[places[0], str(other)], [places[1], str(other / "tokens")], ["--out_dir", f"{tmp_path}/both"]]
    main(["--data_dir", *both[0], "--tokens", *both[1], *both[2]])
    spoken = [utt for utt, text in said.items() if text]
    codes = read_table(tmp_path / "both/codes.scp")
    assert sorted(codes) == sorted([*spoken, *(f"sp0.9-{utt}" for utt in spoken)])
    assert all(place.startswith(str(other)) == utt.startswith("sp") for utt, place in codes.items())
    assert read_table(tmp_path / "both/left_out") == dict.fromkeys(("a3", "sp0.9-a3"), "no transcript")
    with pytest.raises(SystemExit, match="utterance a1 is in another of the sets, too"):
        main(["--data_dir", places[0], places[0], "--tokens", places[1], places[1], *both[2]])
    with pytest.raises(SystemExit, match="2 data directories and 1 token dumps"):
        main(["--data_dir", *both[0], "--tokens", places[1], *both[2]])


@pytest.mark.parametrize("missing, message", [("text", "needs transcripts"), ("tokens", "no such token file")])
def test_incomplete_sets_are_refused(missing, message, tmp_path):
    if missing != "text":
        for name, line in (("text", "u hello"), ("wav.scp", "u a.wav"), ("utt2spk", "u a"), ("utt2num_samples", "u 9")):
            (tmp_path / name).write_text(f"{line}\n")
    with pytest.raises(SystemExit, match=message):
        main(["--data_dir", str(tmp_path), "--tokens", str(tmp_path / "tokens"), "--out_dir", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
