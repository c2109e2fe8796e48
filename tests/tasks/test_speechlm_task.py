"""SpeechLMTask on ESPnet's trainer: lengths, training, resuming, and its checks."""

from dataclasses import asdict

import numpy as np
import pytest
import torch
import yaml
from lm_corpus import SIZES, data_options, write_lm_corpus

from sitok_espnet.errors import SiTokError
from sitok_espnet.speechlm.text import load_text_tokenizer
from sitok_espnet.speechlm.vocabulary import JointVocabulary
from sitok_espnet.tasks.speechlm import SpeechLMTask


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm")
    write_lm_corpus(folder)
    return folder


def command(corpus, output, *more):
    start = ["--config", f"{corpus}/tiny.yaml", "--output_dir", str(output), "--ngpu", "0"]
    return [*start, *data_options(corpus), *map(str, more)]


@pytest.fixture(scope="module")
def statistics(corpus):
    keys = [w for part in ("train", "valid") for w in (f"--{part}_shape_file", f"{corpus}/keys")]
    SpeechLMTask.main(cmd=command(corpus, corpus / "stats", "--collect_stats", "true", *keys))
    return corpus / "stats"


@pytest.fixture(scope="module")
def trained(corpus, statistics, tmp_path_factory):
    """An experiment of one epoch."""
    folder = tmp_path_factory.mktemp("trained") / "lm"
    SpeechLMTask.main(cmd=command(corpus, folder, *shapes(statistics), "--max_epoch", "1"))
    return folder


def shapes(statistics):
    names = ("text_shape", "codes_shape")
    return [w for part in ("train", "valid") for n in names for w in (f"--{part}_shape_file", statistics / part / n)]


def test_lengths_are_those_of_pieces_and_codes(corpus, statistics):
    counted = dict(line.split() for line in (statistics / "train/codes_shape").read_text().splitlines())
    assert counted == {f"u{i}": str(2 * (5 + i)) for i in range(8)}
    tokenizer = load_text_tokenizer(corpus / "bpe.model")
    counted = dict(line.split() for line in (statistics / "train/text_shape").read_text().splitlines())
    for line in (corpus / "text").read_text().splitlines():
        utt, text = line.split(" ", 1)
        assert int(counted[utt]) == len(tokenizer.encode(text))


def trained_whole_and_in_parts(corpus, folder, files) -> dict[str, torch.Tensor]:
    """The weights of two epochs, which are the same when the second is resumed."""
    SpeechLMTask.main(cmd=command(corpus, folder / "whole", *files))
    SpeechLMTask.main(cmd=command(corpus, folder / "parts", *files, "--max_epoch", "1"))
    SpeechLMTask.main(cmd=command(corpus, folder / "parts", *files, "--resume", "true"))
    one, two = (torch.load(folder / n / "2epoch.pth", weights_only=True) for n in ("whole", "parts"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, msg=name)
    return one


def test_training_learns_and_resumes_with_the_same_result(corpus, statistics, tmp_path):
    files = shapes(statistics)
    one = trained_whole_and_in_parts(corpus, tmp_path, files)
    begun = torch.load(tmp_path / "whole/1epoch.pth", weights_only=True)
    assert any((begun[name] != value).any() for name, value in one.items())
    saved = yaml.safe_load((tmp_path / "whole/config.yaml").read_text())
    assert saved["vocabulary"]["codebook_sizes"] == list(SIZES)
    # config.yaml is all that is needed to open the model, without the vocabulary's file.
    model, _ = SpeechLMTask.build_model_from_file(tmp_path / "whole/config.yaml", tmp_path / "whole/2epoch.pth")
    torch.testing.assert_close(model.state_dict()["lm.model.lm_head.weight"], one["lm.model.lm_head.weight"])


def test_training_utterances_go_on_with_others(corpus, statistics, tmp_path):
    """Joined from all of the training set, in the training alone; a resumed training draws the same."""
    lines = (corpus / "keys").read_text().split()
    (tmp_path / "utt2spk").write_text("".join(f"{utt} anna\n" for utt in lines))
    speakers = ("--train_data_path_and_name_and_type", f"{tmp_path}/utt2spk,speaker,text")
    conf = ("--join_conf", "probability=0.9", "--join_conf", "max_positions=60", "--num_workers", "1")
    files = (*shapes(statistics), *speakers, *conf)
    trained_whole_and_in_parts(corpus, tmp_path, files)
    args = SpeechLMTask.get_parser().parse_args(command(corpus, tmp_path, *files))
    own = {"text": "one two", "codes": np.zeros(10, dtype=np.int32), "speaker": "anna"}
    lengths = [len(SpeechLMTask.build_preprocess_fn(args, train)("u0", dict(own))["codes"]) for train in (True, False)]
    assert lengths[0] > 10 and lengths[1] == 10
    wrong = (
        (("--join_conf", "max_positions=4000"), "join_conf max_positions needs 4000 positions of the language model"),
        (("--max_cache_size", "1m"), "--max_cache_size .* leave it at 0"),
        (("--multiple_iterator", "true"), "leave --multiple_iterator false"),
    )
    for number, (options, message) in enumerate(wrong):
        with pytest.raises(SiTokError, match=message):
            SpeechLMTask.main(cmd=command(corpus, tmp_path / str(number), *files, *options))
    with pytest.raises(SiTokError, match="who speaks"):
        SpeechLMTask.main(cmd=command(corpus, tmp_path / "a", *shapes(statistics), *conf))


def test_partners_are_utterances_of_the_training(corpus, statistics, tmp_path):
    """The tables may have more than the training set, as where long utterances are left out of it."""
    lines = (corpus / "keys").read_text().split()
    (tmp_path / "utt2spk").write_text("".join(f"{utt} anna\n" for utt in [*lines, "without_audio"]))
    (tmp_path / "shape").write_text("u0 10\nu1 12\n")
    options = ["--train_data_path_and_name_and_type", f"{tmp_path}/utt2spk,speaker,text"]
    options += ["--join_conf", "probability=0.999", "--train_shape_file", tmp_path / "shape"]
    args = SpeechLMTask.get_parser().parse_args(command(corpus, tmp_path, *options))
    preprocessor = SpeechLMTask.build_preprocess_fn(args, True)
    assert preprocessor.utterances == {("anna", ""): ["u0", "u1"]}
    (tmp_path / "shape").write_text("u0 10\nwithout_audio 12\n")
    with pytest.raises(SiTokError, match="/text: 1 training utterances are missing, the first is without_audio"):
        SpeechLMTask.build_preprocess_fn(args, True)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("vocabulary", "codes_hash", "codes_hash c, not RETRAINED"),
        ("vocabulary", "frame_rate", "frame_rate 25/2, not 25"),
        ("pattern", "flatten", "pattern delay, not flatten"),
        ("code_init", "codebook", "code_init random, not codebook"),
        ("texts", "", "texts .*/text, not .*/more"),
    ],
)
def test_a_training_of_other_tokens_is_not_resumed(corpus, trained, tmp_path, option, value, message):
    files = shapes(corpus / "stats")
    before = {path.name: path.read_bytes() for path in trained.iterdir() if path.is_file()}
    if option == "vocabulary":
        content = asdict(JointVocabulary.read(corpus / "vocabulary.json"))
        content |= {value: {"codes_hash": "RETRAINED", "frame_rate": "25"}[value]}
        value = tmp_path / "vocabulary.json"
        JointVocabulary(**content).write(value)
    more = (f"--{option}", value, "--resume", "true", "--max_epoch", "1")
    cmd = command(corpus, trained, *files, *(more[2:] if option == "texts" else more))
    if option == "texts":  # as of other speeds
        (tmp_path / "more").write_bytes((corpus / "text").read_bytes())
        cmd[cmd.index(f"{corpus}/text,text,text")] = f"{tmp_path}/more,text,text"  # the first is for training
    with pytest.raises(SiTokError, match=f"{message}.*--lm_tag"):
        SpeechLMTask.main(cmd=cmd)
    assert {path.name: path.read_bytes() for path in trained.iterdir() if path.is_file()} == before


def test_what_does_not_belong_together_is_refused(corpus, statistics, tmp_path):
    words = JointVocabulary.read(corpus / "vocabulary.json")
    JointVocabulary(words.text_size, "other", SIZES, "c", "25/2").write(tmp_path / "vocabulary.json")
    files = shapes(statistics)
    with pytest.raises(SiTokError, match="not the text tokenizer"):
        SpeechLMTask.main(cmd=command(corpus, tmp_path / "a", *files, "--vocabulary", tmp_path / "vocabulary.json"))
    with pytest.raises(SiTokError, match="stage 3"):
        SpeechLMTask.main(cmd=command(corpus, tmp_path / "b", *files, "--vocabulary", tmp_path / "none.json"))
    with pytest.raises(SiTokError, match="neither a SentencePiece model"):
        load_text_tokenizer(tmp_path)
    (tmp_path / "empty").write_text("u0\n")
    with pytest.raises(SiTokError, match="utterance u0 has no text"):
        task = SpeechLMTask.build_preprocess_fn(SpeechLMTask.get_parser().parse_args(command(corpus, tmp_path)), True)
        task("u0", {"text": ""})
