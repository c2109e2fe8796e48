"""The benchmarks run and compare what they say; their workers are called in this process, and no time is judged."""

import json

import numpy as np
import pytest
import soundfile
import yaml
from speech_generator import speech, write_corpus
from tiny import TINY, tiny_config

from benchmarks import codebook_start, decoders, metric_response, peers, streaming
from sitok_espnet.errors import SiTokError


def test_streaming_benchmark(tiny_model_dir, tmp_path, monkeypatch, capsys):
    soundfile.write(tmp_path / "a.wav", speech(2.0), 24000, "FLOAT")

    def here(argv, **job):
        return streaming.WORK[job["do"]](streaming.get_parser().parse_args(argv), job)

    monkeypatch.setattr(streaming, "work", here)
    options = ["--encode_seconds", "3", "--decode_seconds", "5", "--chunk_seconds", "1", "60", "--push_ms", "80"]
    arguments = ["--model", str(tiny_model_dir), "-o", str(tmp_path / "r.json"), "--steps", "1", "--repeats", "2"]
    streaming.main([*options, *arguments, str(tmp_path / "a.wav")])
    result = json.loads((tmp_path / "r.json").read_text())
    assert {"commit", "config", "machine", "model_hash", "options", "encoding", "decoding"} == set(result)
    assert result["options"]["seed"] == 0 and result["config"]["encoder_conf"]["num_layers"] == 2
    encoding = result["encoding"]
    assert (encoding["tokens"], encoding["latency_ms"]) == (38, 110.0)
    assert encoding["ways"]["80 ms"]["differing_tokens"] == 0
    rows = {row["way"]: row for row in result["decoding"]}
    assert list(rows) == ["whole", "whole, another seed", "1 s", "60 s"]
    assert rows["whole"]["mel_l1_to_whole"] == rows["60 s"]["mel_l1_to_whole"] == 0
    assert rows["1 s"]["mel_l1_to_whole"] > 0 and rows["whole, another seed"]["mel_l1_to_whole"] > 0
    assert rows["1 s"]["latency_ms"] == 1640
    assert str(tmp_path) not in (tmp_path / "r.json").read_text()
    table = capsys.readouterr().out
    assert "| 80 ms |" in table and "| 5 | 1 s |" in table


def test_speech_is_joined_and_repeated(tiny_tokenizer, tmp_path):
    wavs = [speech(1.0, seed=s) for s in range(2)]
    for name, wav in zip("ab", wavs, strict=True):
        soundfile.write(tmp_path / f"{name}.wav", wav, 24000, "FLOAT")
    joined = streaming.joined_speech(tiny_tokenizer, [str(tmp_path)], 2.5)
    np.testing.assert_array_equal(joined, np.concatenate([*wavs, wavs[0]])[:60000])


def test_decoder_benchmark_compares_decoders_of_one_size(tmp_path, monkeypatch, capsys):
    config = tiny_config(decoder_conf={**TINY["decoder_conf"], "num_layers": 8})
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(config))
    output = tmp_path / "r.json"
    arguments = ["decoders.py", str(tmp_path / "tiny.yaml"), "-o", str(output), "--seconds", "1", "--repeats", "1"]
    monkeypatch.setattr("sys.argv", arguments)
    decoders.main()
    rows = {row["way"]: row for row in json.loads(output.read_text())["rows"]}
    assert set(rows) == {way.name for way in decoders.WAYS}
    assert rows["flow_matching, 16 steps"]["ratio"] == 1
    built = decoders.build_decoders(config, "cpu", 0)
    assert len(built["flow_matching"].stack.blocks) == len(built["regression"].stack.blocks) == 8
    assert (len(built["flow_matching_light"].body.blocks), len(built["flow_matching_light"].stack.blocks)) == (6, 2)
    assert "| flow_matching_light, 4 steps |" in capsys.readouterr().out
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny_config(decoder="regression")))
    with pytest.raises(SystemExit, match="decoder must be flow_matching, it is regression"):
        decoders.main()


def test_metric_response_benchmark(tmp_path, capsys):
    data = write_corpus(tmp_path / "data", 4, speakers=1)
    output = tmp_path / "r.json"
    options = ["--utterances", "2", "--metrics", "mel", "f0_rmse", "--damages", "nothing", "half as loud", "silence"]
    metric_response.main([str(data), "-o", str(output), *options])
    result = json.loads(output.read_text())
    assert {"utterances", "seconds", "metrics", "damages", "commit", "machine"} == set(result)
    assert len(result["utterances"]) == 2 and list(result["damages"]) == ["nothing", "half as loud", "silence"]
    loudness = result["damages"]["half as loud"]
    assert loudness["mel"]["value"] == pytest.approx(np.log(2), abs=0.1) and loudness["f0_rmse"]["value"] < 1e-3
    silence = result["damages"]["silence"]["f0_rmse"]
    assert (silence["value"], silence["excluded"]) == (None, 2)
    assert str(tmp_path) not in output.read_text()
    assert "| silence |" in capsys.readouterr().out


def test_peer_benchmark(tiny_model_dir, tmp_path, monkeypatch, capsys):
    soundfile.write(tmp_path / "a.wav", speech(1.0), 24000, "FLOAT")
    monkeypatch.setenv("PATH", str(tmp_path))  # no programs of codec2
    arguments = ["--model", str(tiny_model_dir), "-o", str(tmp_path / "r.json"), "--seconds", "0.5", "--repeats", "1"]
    peers.main([*arguments, "--steps", "2", "1", "--peers", "opus:6", "codec2:1200", "--", str(tmp_path / "a.wav")])
    result = json.loads((tmp_path / "r.json").read_text())
    rows = {row["way"]: row for row in result["rows"]}
    assert list(rows) == ["SiTok, 2 steps", "SiTok, 1 step", "Opus, 6 kbit/s"]
    assert rows["SiTok, 2 steps"]["encode_ratio"] == rows["SiTok, 2 steps"]["decode_ratio"] == 1
    assert rows["SiTok, 1 step"]["bits_per_second"] == 75 and rows["Opus, 6 kbit/s"]["bits_per_second"] == 6000
    opus = rows["Opus, 6 kbit/s"]
    assert opus["decode_ratio"] == opus["decode"] / rows["SiTok, 2 steps"]["decode"]
    assert "apt-get install codec2" in result["missing"]["Codec2, mode 1200"]
    table = capsys.readouterr().out
    assert "| SiTok, 1 step | trained | " in table and "Codec2, mode 1200: not run: " in table
    assert str(tmp_path) not in (tmp_path / "r.json").read_text()


def test_codebook_start_reads_logs_of_trainings(tmp_path, monkeypatch, capsys):
    from torch.utils.tensorboard import SummaryWriter

    for name, scale in (("growing", 2.0), ("fixed", 1.0)):
        with SummaryWriter(str(tmp_path / name / "tensorboard/train")) as writer:
            for update in range(10, 501, 10):
                for codebook in (0, 7):
                    writer.add_scalar(f"perplexity_{codebook}", scale * update + codebook, update)
                writer.add_scalar("loss", 1.0, update)
    arguments = [f"{name}={tmp_path / name}" for name in ("growing", "fixed")]
    monkeypatch.setattr("sys.argv", ["codebook_start.py", *arguments, "-o", str(tmp_path / "start.svg")])
    codebook_start.main()
    table = capsys.readouterr().out
    assert "| growing | perplexity_7 | 107 | 307 | 607 | 987 |" in table
    assert "| fixed | perplexity_0 | 50 | 150 | 300 | 490 |" in table
    numbers = json.loads((tmp_path / "start.json").read_text())["curves"]["fixed"]["perplexity_0"]
    assert numbers["updates"][:2] == [10, 20] and numbers["values"][:2] == [10.0, 20.0]
    picture = (tmp_path / "start.svg").read_text()
    assert "growing: perplexity_7" in picture or picture.count('<g id="line2d') >= 4
    (tmp_path / "empty/tensorboard/train").mkdir(parents=True)
    with pytest.raises(SiTokError, match="no event files"):
        codebook_start.perplexities(tmp_path / "empty")
