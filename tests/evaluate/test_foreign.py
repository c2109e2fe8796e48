"""`sitok eval` on anybody's audio: ids, rates and lengths are checked, the numbers are those of a tokenizer's page."""

import json
import shutil

import numpy as np
import pytest
import soundfile
import yaml
from speech_generator import speech, write_corpus

from sitok_espnet import resample
from sitok_espnet.bin.main import main
from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.foreign import Options, parse_hypotheses, prepare
from sitok_espnet.evaluate.metrics import Sample
from sitok_espnet.evaluate.metrics.stoi import STOI
from sitok_espnet.inputs import read_scp

FAST = ["--resamples", "100", "--spectrograms", "0"]


def degrade(corpus, directory, function, rate=24000):
    """Another version of a corpus' audio, same names."""
    directory.mkdir(parents=True)
    for item in read_scp(corpus / "wav.scp"):
        wav = function(item.read()[0], np.random.default_rng(len(item.utt)))
        soundfile.write(directory / f"{item.utt}.wav", np.clip(wav, -1, 1), rate, "FLOAT")
    return directory


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("data"), 5, words=(3, 4))


@pytest.fixture(scope="module")
def slight(tmp_path_factory, corpus):
    return degrade(corpus, tmp_path_factory.mktemp("s") / "slight", lambda w, r: w + 0.003 * r.normal(size=len(w)))


@pytest.fixture(scope="module")
def heavy(tmp_path_factory, corpus):
    return degrade(corpus, tmp_path_factory.mktemp("h") / "heavy", lambda w, r: w + 0.1 * r.normal(size=len(w)))


def judge(*arguments, fails=False, capsys=None):
    status = main(["eval", *map(str, arguments)])
    if fails:
        assert status == 2
        return capsys.readouterr().err.splitlines()[-1]
    assert status == 0
    return None


@pytest.fixture(scope="module")
def judged(tmp_path_factory, corpus, slight, heavy):
    output = tmp_path_factory.mktemp("out") / "eval"
    options = ["--text", corpus / "text", "--utt2spk", corpus / "utt2spk", "--metrics", "sim", "stoi", "mel"]
    hyps = ["--hyp", slight, "--hyp", f"noisy={heavy}", "--hyp", f"same={corpus / 'wav.scp'}"]
    judge("--ref", corpus / "wav.scp", *hyps, *options, "-o", output, *FAST, "--spectrograms", 1)
    return json.loads((output / "results.json").read_text()), (output / "RESULTS.md").read_text(), output


def test_rows_and_numbers(judged, corpus, slight):
    results, _, _ = judged
    systems = results["systems"]
    assert list(systems) == ["original", "slight", "noisy", "same"]
    values = {name: {m: c.get("value") for m, c in row["metrics"].items()} for name, row in systems.items()}
    assert values["original"] == {"sim": None, "stoi": None, "mel": None}
    assert values["same"]["stoi"] == pytest.approx(1.0, abs=1e-5) and values["same"]["mel"] == 0.0
    assert values["noisy"]["mel"] > values["slight"]["mel"] > 0.0
    assert values["noisy"]["stoi"] < values["slight"]["stoi"]
    metric = STOI()
    expected = []
    for item in read_scp(corpus / "wav.scp"):
        wav = soundfile.read(slight / f"{item.utt}.wav", dtype="float32")[0]
        expected.append(metric.measure(Sample(item.utt, item.read()[0], wav, 24000)).value)
    assert values["slight"]["stoi"] == pytest.approx(np.mean(expected))


def test_every_pair_is_compared_with_corrected_p_values(judged):
    comparisons = judged[0]["comparisons"]
    assert [(pair["first"], pair["second"]) for pair in comparisons] == [
        ("slight", "noisy"),
        ("slight", "same"),
        ("noisy", "same"),
    ]
    for metric in ("sim", "stoi", "mel"):
        cells = [pair["metrics"][metric] for pair in comparisons]
        # Five utterances: all 32 swaps; every difference has one sign, so that p is 2 / 32; of three tests, 6 / 32.
        assert [cell["p_randomisation"] for cell in cells] == pytest.approx([2 / 32] * 3)
        assert [cell["p_holm"] for cell in cells] == pytest.approx([6 / 32] * 3)


def test_nothing_is_said_about_a_tokenizer(judged):
    results, page, output = judged
    for key in ("tokenizer", "ctc", "codebook", "bits_per_second", "speed", "latency", "mel_distance_closed"):
        assert results[key] is None, key
    for word in ("Tokenizer", "CTC", "codebook", "real-time", "untrained", "not synthesized", "- model"):
        assert word not in page, word
    assert "| slight |" in page and "## Speaker verification" in page
    assert results["provenance"]["command"].startswith("python3 -m sitok_espnet.bin.main eval --ref ")
    assert results["data"]["with_transcript"] == 5
    assert len(list((output / "spectrograms").glob("*.png"))) == 1


def test_audio_that_needs_no_change_is_not_copied(judged, slight):
    output = judged[2]
    assert not (output / "slight" / "wav").exists()
    locations = {item.location for item in read_scp(output / "slight" / "wav.scp")}
    assert locations == {str(path.resolve()) for path in slight.glob("*.wav")}


def test_speaker_verification_is_there(judged):
    content = judged[0]["verification"]
    assert content["status"] == "measured" and content["speakers"] == 2 and content["resampled"] == "utterances"
    # Three utterances of one speaker, two of the other: 3 x 2 target trials and 2 x 1, as many impostors.
    assert content["targets"] == content["impostors"] == 8
    assert list(content["systems"]) == ["original", "slight", "noisy", "same"]
    assert content["systems"]["same"] == content["systems"]["original"]


def test_without_speakers_or_sim_it_says_why(corpus, slight, tmp_path):
    hyp = ["--ref", corpus / "wav.scp", "--hyp", slight, "--metrics"]
    judge(*hyp, "stoi", "--utt2spk", corpus / "utt2spk", "-o", tmp_path / "a", *FAST)
    assert "sim" in json.loads((tmp_path / "a/results.json").read_text())["verification"]["reason"]
    one = tmp_path / "one"
    one.write_text("".join(f"{item.utt} alone\n" for item in read_scp(corpus / "wav.scp")))
    judge(*hyp, "sim", "--utt2spk", one, "-o", tmp_path / "b", *FAST)
    content = json.loads((tmp_path / "b/results.json").read_text())["verification"]
    assert content["status"] == "not run" and "one speaker (alone)" in content["reason"]
    judge(*hyp, "sim", "-o", tmp_path / "b", *FAST)  # the speakers of the call before are forgotten
    assert "--utt2spk" in json.loads((tmp_path / "b/results.json").read_text())["verification"]["reason"]


def test_similarity_to_prompts(corpus, slight, tmp_path):
    items = read_scp(corpus / "wav.scp")
    same = {"spk00": items[0], "spk01": items[3]}
    other = {"spk00": items[3], "spk01": items[0]}
    means = {}
    for name, prompts in (("same", same), ("other", other)):
        scp = tmp_path / f"{name}.scp"
        scp.write_text("".join(f"{item.utt} {prompts[item.utt[:5]].location}\n" for item in items))
        words = ["--ref", corpus / "wav.scp", "--hyp", slight, "--metrics", "sim_prompt", "--prompts", scp]
        judge(*words, "-o", tmp_path / "out", *FAST)
        systems = json.loads((tmp_path / "out/results.json").read_text())["systems"]
        means[name] = systems["original"]["metrics"]["sim_prompt"]["value"]
    assert means["same"] > means["other"] + 0.1  # measured again, though only the list of prompts has changed


def test_resampling_and_fitting_the_length(corpus, tmp_path):
    def slow(wav, _):
        return np.append(resample(wav, 24000, 16000), np.zeros(320, np.float32))

    wavs = degrade(corpus, tmp_path / "slow", slow, 16000)
    originals = {item.utt: len(item.read()[0]) for item in read_scp(corpus / "wav.scp")}
    with pytest.raises(SiTokError, match="16000 Hz .*24000 Hz .*--resample converts everything to 24000 Hz"):
        prepare(str(corpus / "wav.scp"), {"slow": str(wavs)}, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    made = prepare(str(corpus / "wav.scp"), {"slow": str(wavs)}, tmp_path / "b", options=Options(resample=True))
    assert made.sample_rate == 24000 and made.changed == {"original": 0, "slow": 5}
    for item in read_scp(tmp_path / "b/slow/wav.scp"):
        wav, rate = item.read()
        assert rate == 24000 and 478 <= len(wav) - originals[item.utt] <= 482
    fitted = Options(resample=True, fit_length=True)
    prepare(str(corpus / "wav.scp"), {"slow": str(wavs)}, tmp_path / "b", options=fitted)
    for item, reference in zip(read_scp(tmp_path / "b/slow/wav.scp"), read_scp(corpus / "wav.scp"), strict=True):
        wav = item.read()[0]
        assert len(wav) == originals[item.utt]
        expected = resample(resample(reference.read()[0], 24000, 16000), 16000, 24000)
        np.testing.assert_allclose(wav[:-200], expected[: len(wav) - 200], atol=1e-4)


def test_rounding_of_a_converted_rate_is_no_difference(tmp_path):
    for name, rate, samples in (("ref", 24000, 24001), ("hyp", 16000, 16001)):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "a.wav", speech(1.01, sample_rate=rate)[:samples], rate, "FLOAT")
    ref, hyp = str(tmp_path / "ref"), {"hyp": str(tmp_path / "hyp")}
    prepare(ref, hyp, tmp_path / "out", options=Options(resample=True))
    assert [len(read_scp(tmp_path / "out" / row / "wav.scp")[0].read()[0]) for row in ("original", "hyp")] == [
        24001
    ] * 2


def test_other_lengths_are_left_out_where_alignment_matters(corpus, tmp_path):
    shorter = degrade(corpus, tmp_path / "tts", lambda w, _: w[:-100])
    words = ["--ref", corpus / "wav.scp", "--hyp", shorter, "--metrics", "sim", "stoi", "-o", tmp_path / "out", *FAST]
    judge(*words)
    cells = json.loads((tmp_path / "out/results.json").read_text())["systems"]["tts"]["metrics"]
    assert cells["sim"]["status"] == "measured"
    assert cells["stoi"]["status"] == "not run" and "none of 5 utterances" in cells["stoi"]["reason"]
    assert "samples" in cells["stoi"]["reason"]
    judge(*words, "--fit_length")
    cells = json.loads((tmp_path / "out/results.json").read_text())["systems"]["tts"]["metrics"]
    assert cells["stoi"]["count"] == 5 and cells["stoi"]["value"] > 0.99


def test_a_rate_that_a_metric_does_not_take(tmp_path):
    corpus = write_corpus(tmp_path / "data", 2, sample_rate=16000, words=(3, 4))
    judge(
        "--ref", corpus / "wav", "--hyp", f"x={corpus / 'wav'}", "--metrics", "mel", "stoi", "-o", tmp_path / "o", *FAST
    )
    cells = json.loads((tmp_path / "o/results.json").read_text())["systems"]["x"]["metrics"]
    assert cells["mel"]["status"] == "not run" and "24000 Hz" in cells["mel"]["reason"]
    assert cells["stoi"]["status"] == "measured"


def test_a_second_call_forgets_the_systems_of_the_first(corpus, slight, heavy, tmp_path):
    prepare(str(corpus / "wav.scp"), {"a": str(slight), "b": str(heavy)}, tmp_path / "out")
    prepare(str(corpus / "wav.scp"), {"b": str(heavy)}, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"original", "b", "inputs.json"}


def tree(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("inside", ["original", "codec"])
def test_inputs_below_the_output_survive(corpus, slight, tmp_path, inside, listed):
    """The layout of `sitok eval` itself: wavs in <output>/<row>/wav."""
    exp = tmp_path / "exp"
    wavs = shutil.copytree(slight, exp / inside / "wav")
    if listed:
        scp = tmp_path / "list.scp"
        scp.write_text("".join(f"{path.stem} {path}\n" for path in sorted(wavs.glob("*.wav"))))
        wavs = scp
    before = tree(tmp_path)
    reference, hyp = (str(wavs), str(slight)) if inside == "original" else (str(corpus / "wav.scp"), str(wavs))
    for options in (Options(), Options(fit_length=True)):
        with pytest.raises(SiTokError, match="is one of the inputs and lies in it: choose another -o"):
            prepare(reference, {"codec": hyp}, exp, options=options)
    assert tree(tmp_path) == before


def test_a_table_below_the_output_survives(corpus, slight, tmp_path):
    for place in ("text", "original/text"):
        path = tmp_path / place
        path.parent.mkdir(exist_ok=True)
        shutil.copy(corpus / "text", path)
        with pytest.raises(SiTokError, match="choose another -o"):
            prepare(str(corpus / "wav.scp"), {"x": str(slight)}, tmp_path, {"text": path})
        assert path.read_bytes() == (corpus / "text").read_bytes()
        path.unlink()


def test_files_of_nobody_are_neither_replaced_nor_deleted(corpus, slight, heavy, tmp_path):
    mine = tmp_path / "out/a/wav/notes.wav"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    halves = degrade(corpus, tmp_path / "halves", lambda w, _: w[:-100])
    fit = Options(fit_length=True)
    prepare(str(corpus / "wav.scp"), {"a": str(halves)}, tmp_path / "out", options=fit)
    assert len(tree(tmp_path / "out/a/wav")) == 6
    prepare(str(corpus / "wav.scp"), {"b": str(heavy)}, tmp_path / "out", options=fit)
    assert tree(tmp_path / "out/a") == {mine.relative_to(tmp_path / "out/a"): b"mine"}
    (tmp_path / "out/c").mkdir()
    (tmp_path / "out/c/wav.scp").write_text("a b\n")
    before = tree(tmp_path)
    with pytest.raises(SiTokError, match="not of `sitok eval`: choose another -o"):
        prepare(str(corpus / "wav.scp"), {"c": str(heavy)}, tmp_path / "out")
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: [(d / f"{u}.wav").unlink() for u in ("spk00-utt0000", "spk01-utt0003")], "2 of 5 originals have no"),
        (lambda d: (d / "spk00-utt0000.wav").rename(d / "new.wav"), "1 have no original, such as new"),
        (lambda d: shutil.copy(d / "spk00-utt0000.wav", d / "spk00-utt0000.flac"), "both be utterance spk00-utt0000"),
        (lambda d: (d / "spk00-utt0000.wav").write_text("no audio"), "spk00-utt0000.*cannot be read as audio"),
        (lambda d: shutil.rmtree(d), "no such file or directory"),
    ],
)
def test_bad_sets_are_refused_with_examples_before_anything_is_written(corpus, slight, tmp_path, change, message):
    wavs = shutil.copytree(slight, tmp_path / "wavs")
    change(wavs)
    with pytest.raises(SiTokError, match=message):
        prepare(str(corpus / "wav.scp"), {"x": str(wavs)}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--hyp", "original=WAVS"], "the name original is taken"),
        (["--hyp", "WAVS", "--hyp", "WAVS"], "is there already"),
        (["--hyp", "a b=WAVS"], "expected NAME=PATH"),
        (["--hyp", "x="], "expected NAME=PATH"),
        (["--hyp", "WAVS", "--text", "absent"], "--text absent: no such file"),
        (["--hyp", "WAVS", "--utt2spk", "SHORT"], "4 of 5 utterances are not in it, such as"),
        (["--hyp", "WAVS", "--metrics", "taste"], "unknown metric 'taste'"),
        (["--hyp", "WAVS", "--nj", "0"], "--nj must be at least 1"),
        (["--hyp", "WAVS", "--metrics", "mel", "--versa", "v"], "none of the metrics has a counterpart"),
    ],
)
def test_bad_requests_are_one_line(corpus, slight, tmp_path, capsys, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "SHORT").write_text("spk00-utt0000 a\n")
    words = [str(slight) if o == "WAVS" else o.replace("=WAVS", f"={slight}") for o in options]
    assert message in judge("--ref", corpus / "wav.scp", *words, "-o", "out", *FAST, fails=True, capsys=capsys)
    assert not (tmp_path / "out" / "results.json").exists()


def test_the_evaluation_of_a_tokenizer_is_not_overwritten(corpus, slight, tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(SiTokError, match="evaluation of a tokenizer"):
        prepare(str(corpus / "wav.scp"), {"x": str(slight)}, tmp_path)


def test_names_of_systems(tmp_path):
    (tmp_path / "opus_6.5k").mkdir()
    scp = str(tmp_path / "codec" / "wav.scp")
    words = [str(tmp_path / "opus_6.5k"), scp, "my-system+2=a/b=c.scp", "out/a.wav"]
    assert parse_hypotheses(words) == {
        "opus_6.5k": words[0],
        "codec": scp,
        "my-system+2": "a/b=c.scp",
        "a": "out/a.wav",
    }


def test_inputs_for_versa(corpus, slight, tmp_path):
    """The configuration holds exactly VERSA's entries for what was asked, the lists what VERSA's readers take."""
    metrics = ["wer", "cer", "sim", "dnsmos", "stoi", "mel"]
    from sitok_espnet.evaluate.versa import write_versa

    prepare(str(corpus / "wav.scp"), {"x": str(slight)}, tmp_path / "out", {"text": corpus / "text"})
    assert write_versa(tmp_path / "out", ["original", "x"], metrics, tmp_path / "versa") == [tmp_path / "versa/x"]
    config = (tmp_path / "versa/versa.yaml").read_text()
    assert yaml.safe_load(config) == [
        {"name": "whisper_wer", "model_tag": "default", "beam_size": 5, "text_cleaner": "whisper_basic"},
        {"name": "speaker", "model_tag": "default"},
        {"name": "pseudo_mos", "predictor_types": ["dnsmos"], "predictor_args": {"dnsmos": {"fs": 16000}}},
        {"name": "stoi"},
    ]
    assert "--text SYSTEM/text --output_file SYSTEM/scores.txt --io soundfile" in config
    assert "# mel: no counterpart in VERSA" in config
    # VERSA splits every line of these at its first blank.
    tables = {
        name: dict(line.split(maxsplit=1) for line in (tmp_path / "versa/x" / name).read_text().splitlines())
        for name in ("pred.scp", "gt.scp", "text")
    }
    assert tables["pred.scp"].keys() == tables["gt.scp"].keys() == tables["text"].keys()
    assert all(soundfile.info(path).samplerate == 24000 for path in tables["pred.scp"].values())

    (tmp_path / "out/original/text").write_text("spk00-utt0000 one two\n")
    write_versa(tmp_path / "out", ["x"], [*metrics, "utmos", "mcd", "f0_rmse"], tmp_path / "versa")
    config = (tmp_path / "versa/versa.yaml").read_text()
    entries = yaml.safe_load(config)
    assert [entry["name"] for entry in entries] == ["speaker", "pseudo_mos", "stoi", "mcd_f0"]
    assert entries[1]["predictor_types"] == ["dnsmos", "utmos"] and entries[3]["dtw"] is False
    assert "wer: left out: 4 utterances have no transcript" in config and "--text" not in config
    assert not (tmp_path / "versa/x/text").exists()
