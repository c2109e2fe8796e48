"""The token dump: format, resumption to the byte, splitting over jobs, and every kind of damage on reading back."""

import json
import shutil
from fractions import Fraction

import kaldiio
import numpy as np
import pytest
import soundfile
import torch
from experiment_dir import make_model_dir
from speech_generator import speech, write_corpus

import sitok_espnet.dump as dump_module
from sitok_espnet.bin import sitok_dump
from sitok_espnet.dump import DumpOptions, dump_tokens
from sitok_espnet.errors import SiTokError
from sitok_espnet.inference import SiTok
from sitok_espnet.inputs import read_scp
from sitok_espnet.tokens import ark_record, flatten_codes, open_tokens, read_tokens, unflatten_codes

OPTIONS = DumpOptions(shard_size=3, batch_seconds=6.0)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """10 utterances: 4 shards of 3, the last one short."""
    return write_corpus(tmp_path_factory.mktemp("corpus"), 10, seed=4, words=(1, 3))


@pytest.fixture(scope="module")
def inputs(corpus):
    return read_scp(corpus / "wav.scp")


@pytest.fixture(scope="module")
def reference(tiny_tokenizer, inputs, tmp_path_factory):
    """An uninterrupted dump."""
    directory = tmp_path_factory.mktemp("reference") / "set"
    assert dump_tokens(tiny_tokenizer, inputs, directory, OPTIONS, progress=False)
    return directory


def contents(directory):
    """All files; paths in the scp that contain the directory's own name are made comparable."""
    return {
        p.relative_to(directory).as_posix(): p.read_bytes().replace(str(directory).encode(), b"DIR")
        for p in sorted(directory.rglob("*"))
        if p.is_file()
    }


# ------------------------------------------------------------------ format


def test_files_of_a_dump(reference, inputs, tiny_tokenizer):
    assert sorted(contents(reference)) == sorted(
        "codec_code_per_frame manifest.json plan.json token_list tokens.ark utt2num_samples utt2num_tokens "
        "wav.scp".split()
    )
    manifest = json.loads((reference / "manifest.json").read_text())
    samples = {item.utt: soundfile.info(item.location).frames for item in inputs}
    tokens = {utt: -(-n // 1920) for utt, n in samples.items()}
    assert manifest == {
        "layout_version": 1,
        "package_version": manifest["package_version"],
        "model_hash": tiny_tokenizer.model_hash,
        "codes_hash": tiny_tokenizer.codes_hash,
        "mel_hash": tiny_tokenizer.mel_config.hash(),
        "dtype": "float32",
        "sample_rate": 24000,
        "frame_rate": "25/2",
        "num_codebooks": 1,
        "codebook_sizes": [64],
        "num_utterances": 10,
        "num_tokens": sum(tokens.values()),
        "num_samples": sum(samples.values()),
    }
    assert Fraction(manifest["frame_rate"]) == tiny_tokenizer.frame_rate
    assert (reference / "codec_code_per_frame").read_text() == "1\n"
    assert (reference / "token_list").read_text().splitlines() == [f"<codec_layer0_code{k}>" for k in range(64)]
    for name, counts in (("utt2num_samples", samples), ("utt2num_tokens", tokens)):
        assert (reference / name).read_text() == "".join(f"{item.utt} {counts[item.utt]}\n" for item in inputs)


def test_kaldiio_and_our_reader_see_what_encode_returns(reference, inputs, tiny_tokenizer):
    seen = dict(read_tokens(reference))
    other = kaldiio.load_scp(str(reference / "wav.scp"))
    assert list(seen) == [item.utt for item in inputs] == list(other)
    for item in inputs:
        alone = tiny_tokenizer.encode([item.read()[0]], 24000)[0]
        np.testing.assert_array_equal(seen[item.utt], alone)
        assert other[item.utt].dtype == np.int32
        np.testing.assert_array_equal(other[item.utt], alone[:, 0])
    assert len(np.unique(np.concatenate(list(seen.values())))) > 10


def test_archive_bytes_are_kaldiios(tmp_path):
    arrays = {"utt-1": np.arange(5, dtype=np.int32), "\u00fctt": np.array([2**31 - 1, 0], dtype=np.int32)}
    kaldiio.save_ark(str(tmp_path / "k.ark"), arrays)
    assert b"".join(ark_record(utt, values)[0] for utt, values in arrays.items()) == (tmp_path / "k.ark").read_bytes()


def test_codebooks_are_interleaved_frame_by_frame_with_offsets():
    codes = np.array([[1, 2, 0], [3, 0, 4]])
    values = flatten_codes(codes, (4, 3, 5))
    assert values.tolist() == [1, 6, 7, 3, 4, 11] and values.dtype == np.int32
    np.testing.assert_array_equal(unflatten_codes(values, (4, 3, 5), "x"), codes)
    for bad, message in (
        ([1, 6, 7, 3], "x: 4 values are not a whole number of tokens of 3 codebooks"),
        ([], "x: 0 values"),
        ([1, 6, 12], "x: value 12 at token 0, codebook 2 is out of range .7 to 11."),
        ([1, 6, 7, 4, 4, 11], "x: value 4 at token 1, codebook 0 is out of range .0 to 3."),
        ([1, 3, 7], "x: value 3 at token 0, codebook 1"),
    ):
        with pytest.raises(SiTokError, match=message):
            unflatten_codes(np.array(bad, dtype=np.int32), (4, 3, 5), "x")


def test_dump_decodes_to_the_same_audio_as_the_api(reference, inputs, tiny_tokenizer):
    tokens = open_tokens(reference)
    (_, codes), entry = next(iter(tokens)), tokens.entries[0]
    wav = inputs[0].read()[0]
    np.testing.assert_array_equal(
        tiny_tokenizer.decode([codes], steps=1, num_samples=[entry.num_samples])[0],
        tiny_tokenizer.resynthesize([wav], 24000, steps=1)[0],
    )


def test_a_moved_dump_is_read_beside_its_scp(reference, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(reference, moved)
    for entry in open_tokens(moved).entries:
        assert entry.ark == moved / "tokens.ark"


# ------------------------------------------------------------------ interruption


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("fail_at", range(1, 17))
def test_interrupted_dump_is_resumed_to_the_byte(fail_at, reference, inputs, tiny_tokenizer, tmp_path, monkeypatch):
    """Stop before the n-th file is written, or (every second time) when half of it is; run again."""
    directory = tmp_path / "set"
    write, calls = dump_module._write, []

    def failing(path, content):
        calls.append(path)
        if len(calls) == fail_at:
            if fail_at % 2:
                dump_module._temporary(path).parent.mkdir(parents=True, exist_ok=True)
                dump_module._temporary(path).write_bytes(b"half")
            raise Interrupted
        write(path, content)

    monkeypatch.setattr(dump_module, "_write", failing)
    try:
        dump_tokens(tiny_tokenizer, inputs, directory, OPTIONS, progress=False)
    except Interrupted:
        assert not (directory / "manifest.json").exists()
        with pytest.raises(SiTokError, match="has not finished"):
            open_tokens(directory)
    else:
        # plan, 4 shards of 2 files, 5 lists and the manifest
        assert len(calls) == 15 and fail_at > 15
    monkeypatch.setattr(dump_module, "_write", write)
    assert dump_tokens(tiny_tokenizer, inputs, directory, OPTIONS, progress=False)
    assert contents(directory) == contents(reference)


def test_finished_shards_are_not_done_again(inputs, tiny_tokenizer, tmp_path, monkeypatch):
    encode, calls = SiTok.encode, []

    def counted(self, wavs, *args):
        calls.append(len(wavs))
        if len(calls) == 3:
            raise Interrupted
        return encode(self, wavs, *args)

    monkeypatch.setattr(SiTok, "encode", counted)
    with pytest.raises(Interrupted):
        dump_tokens(tiny_tokenizer, inputs, tmp_path / "set", OPTIONS, progress=False)
    dump_tokens(tiny_tokenizer, inputs, tmp_path / "set", OPTIONS, progress=False)
    assert calls == [3, 3, 3, 3, 1]
    dump_tokens(tiny_tokenizer, inputs, tmp_path / "set", OPTIONS, progress=False)
    assert len(calls) == 5


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2)])
def test_jobs_give_the_same_bytes_in_any_order(order, reference, inputs, tiny_tokenizer, tmp_path):
    directory = tmp_path / "set"
    complete = [
        dump_tokens(tiny_tokenizer, inputs, directory, DumpOptions(3, 6.0, num_jobs=3, job=job), progress=False)
        for job in order
    ]
    assert complete == [False, False, True]
    assert contents(directory) == contents(reference)


def test_another_job_may_finish_in_between(reference, inputs, tiny_tokenizer, tmp_path, monkeypatch):
    """Job 2 joins and removes the shards while job 1 is about to join them itself."""
    directory = tmp_path / "set"
    join = dump_module._join

    def late(*args):
        monkeypatch.setattr(dump_module, "_join", join)
        assert dump_tokens(tiny_tokenizer, inputs, directory, OPTIONS, progress=False)
        join(*args)

    monkeypatch.setattr(dump_module, "_join", late)
    assert dump_tokens(tiny_tokenizer, inputs, directory, OPTIONS, progress=False)
    assert contents(directory) == contents(reference)


def test_damaged_shard_is_noticed(inputs, tiny_tokenizer, tmp_path):
    directory = tmp_path / "set"
    dump_tokens(tiny_tokenizer, inputs, directory, DumpOptions(3, 6.0, num_jobs=2, job=1), progress=False)
    shard = directory / ".shards" / "000000.ark"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(SiTokError, match="shard 0 is damaged: delete .shards and run again"):
        dump_tokens(tiny_tokenizer, inputs, directory, OPTIONS, progress=False)
    assert not (directory / "manifest.json").exists() and not (directory / "tokens.ark").exists()


# ------------------------------------------------------------------ another plan, bad input


def test_another_plan_is_refused(reference, inputs, tiny_tokenizer, tiny_model_dir):
    untrained = SiTok.from_pretrained(tiny_model_dir, checkpoint="untrained")
    lower = SiTok.from_pretrained(tiny_model_dir, dtype=torch.bfloat16)
    before = contents(reference)
    for tokenizer, items, options, key in (
        (untrained, inputs, OPTIONS, "model_hash"),
        (lower, inputs, OPTIONS, "dtype was 'float32', is 'bfloat16'"),
        (tiny_tokenizer, inputs[:-1], OPTIONS, "num_utterances was 10, is 9, utterances"),
        (tiny_tokenizer, inputs[::-1], OPTIONS, "utterances was"),
        (tiny_tokenizer, inputs, DumpOptions(4, 6.0), "shard_size was 3, is 4"),
        (tiny_tokenizer, inputs, DumpOptions(3, 7.0), "batch_seconds was 6.0, is 7.0"),
    ):
        with pytest.raises(SiTokError, match=f"begun with another plan .*{key}.*delete the directory.*or choose"):
            dump_tokens(tokenizer, items, reference, options, progress=False)
    assert contents(reference) == before


def test_audio_made_again_under_the_same_name_is_another_plan(corpus, tiny_tokenizer, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    soundfile.write(data / "a.wav", speech(0.5), 24000)
    (data / "wav.scp").write_text(f"a {data}/a.wav\n")
    dump_tokens(tiny_tokenizer, read_scp(data / "wav.scp"), tmp_path / "set", progress=False)
    soundfile.write(data / "a.wav", speech(0.6), 24000)
    with pytest.raises(SiTokError, match="another plan .utterances"):
        dump_tokens(tiny_tokenizer, read_scp(data / "wav.scp"), tmp_path / "set", progress=False)


def test_bad_audio_names_utterance_and_file_and_leaves_no_manifest(tiny_tokenizer, tmp_path):
    good, bad = tmp_path / "good.wav", tmp_path / "bad.wav"
    soundfile.write(good, speech(0.5), 24000)
    (tmp_path / "wav.scp").write_text(f"utt1 {good}\nutt2 {bad}\n")
    cases = {
        "has 16000 Hz, the model needs 24000 Hz.*--resample": (speech(0.5), 16000),
        "2 channels": (np.zeros((100, 2)), 24000),
        "no samples": (np.zeros(0), 24000),
        "NaN": (np.full(100, np.nan), 24000),
    }
    for number, (message, (wav, rate)) in enumerate(cases.items()):
        soundfile.write(bad, wav, rate, subtype="FLOAT")
        with pytest.raises(SiTokError, match=f"utterance utt2: {bad}:? .*{message}|utterance utt2: {bad} {message}"):
            dump_tokens(tiny_tokenizer, read_scp(tmp_path / "wav.scp"), tmp_path / f"set{number}", progress=False)
        assert not (tmp_path / f"set{number}" / "manifest.json").exists()
    bad.unlink()
    with pytest.raises(SiTokError, match=f"utterance utt2: {bad}: no such audio file"):
        dump_tokens(tiny_tokenizer, read_scp(tmp_path / "wav.scp"), tmp_path / "set", progress=False)


def test_resample_on_request(tiny_tokenizer, tmp_path):
    from sitok_espnet import resample

    soundfile.write(tmp_path / "a.wav", speech(0.5, sample_rate=16000), 16000)
    (tmp_path / "wav.scp").write_text(f"a {tmp_path}/a.wav\n")
    items = read_scp(tmp_path / "wav.scp")
    dump_tokens(tiny_tokenizer, items, tmp_path / "set", DumpOptions(resample=True), progress=False)
    expected = tiny_tokenizer.encode([resample(items[0].read()[0], 16000, 24000)], 24000)[0]
    np.testing.assert_array_equal(dict(read_tokens(tmp_path / "set"))["a"], expected)


def test_continuous_model_is_refused_by_name(inputs, tiny_tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(type(tiny_tokenizer.model.quantizer), "codebook_sizes", ())
    monkeypatch.setitem(tiny_tokenizer.config, "quantizer", "identity")
    with pytest.raises(SiTokError, match="quantizer 'identity' is continuous and has no codes"):
        dump_tokens(tiny_tokenizer, inputs, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_bad_options(inputs, tiny_tokenizer, tmp_path):
    for options, message in (
        ({"shard_size": 0}, "shard_size"),
        ({"batch_seconds": 0}, "batch_seconds"),
        ({"num_jobs": 2, "job": 3}, "job 3 of 2"),
        ({"job": 0}, "job 0 of 1"),
    ):
        with pytest.raises(SiTokError, match=message):
            DumpOptions(**options)
    with pytest.raises(SiTokError, match="empty"):
        dump_tokens(tiny_tokenizer, [], tmp_path / "set")


# ------------------------------------------------------------------ bfloat16


def test_bfloat16_measures_its_misses(corpus, tmp_path, capsys):
    """With 512 entries in 8 dimensions some neighbours are nearer than bfloat16 tells apart, on every processor."""
    model = make_model_dir(tmp_path / "model", quantizer_conf={"codebook_size": 512, "codebook_dim": 8})
    for name, dtype in (("exact", "float32"), ("set", "bfloat16")):
        arguments = f"--model {model} --wav_scp {corpus}/wav.scp --output_dir {tmp_path}/{name} --dtype {dtype}"
        assert sitok_dump.main(arguments.split()) == 0
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    lower, exact = dict(read_tokens(tmp_path / "set")), dict(read_tokens(tmp_path / "exact"))
    differing = sum(int((lower[utt] != exact[utt]).sum()) for utt in exact)
    total = sum(codes.size for codes in exact.values())
    assert manifest["dtype"] == "bfloat16" and differing > 0
    assert manifest["compared_with_float32"] == {"codes": total, "differing": differing}
    assert manifest["token_miss_rate"] == differing / total
    printed = capsys.readouterr().out
    assert f"{differing} of {total} compared codes differ from float32" in printed
    assert f"{100 * differing / total:.2f} %" in printed


# ------------------------------------------------------------------ the command


def test_command(reference, corpus, tiny_model_dir, tmp_path, capsys):
    start = (
        f"--model {tiny_model_dir} --wav_scp {corpus}/wav.scp --output_dir {tmp_path}/set --shard_size 3 "
        f"--batch_seconds 6 --checkpoint valid.loss.best.pth --num_jobs 2"
    )
    assert sitok_dump.main([*start.split(), "--job", "2"]) == 0
    assert "job 2 of 2 is done, other jobs are not" in capsys.readouterr().out
    assert sitok_dump.main([*start.split(), "--job", "1"]) == 0
    assert "10 utterances" in capsys.readouterr().out
    assert contents(tmp_path / "set") == contents(reference)
    assert sitok_dump.main([*start.split(), "--job", "3"]) == 2
    assert "sitok_dump: error: job must be" in capsys.readouterr().err


# ------------------------------------------------------------------ damage


def edit_manifest(directory, **changes):
    path = directory / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit(name, old, new):
    def apply(directory):
        text = (directory / name).read_text()
        assert old in text
        (directory / name).write_text(text.replace(old, new, 1))

    return apply


def set_value(position, value):
    """Value number `position` of the last utterance."""

    def apply(directory):
        offset = int((directory / "wav.scp").read_text().splitlines()[-1].rpartition(":")[2])
        data = bytearray((directory / "tokens.ark").read_bytes())
        at = offset + 7 + 5 * position + 1
        data[at : at + 4] = int(value).to_bytes(4, "little", signed=True)
        (directory / "tokens.ark").write_bytes(data)

    return apply


def cut(count):
    def apply(directory):
        path = directory / "tokens.ark"
        path.write_bytes(path.read_bytes()[:-count])

    return apply


LAST = "spk01-utt0009"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut(1), f"tokens.ark: utterance {LAST}: the archive is truncated .* of .* values"),
        (cut(5), f"tokens.ark: utterance {LAST}: the archive is truncated"),
        (cut(5000), "tokens.ark: utterance .*: the archive is truncated"),
        (set_value(2, 64), f"utterance {LAST}: value 64 at token 2, codebook 0 is out of range .0 to 63."),
        (set_value(0, -1), f"utterance {LAST}: value -1 at token 0"),
        (edit("wav.scp", "tokens.ark:14", "tokens.ark:15"), "no int32 vector at byte 15"),
        (edit("wav.scp", "tokens.ark:14", "tokens.ark"), "wav.scp:1: expected `utterance archive:offset`"),
        (edit("wav.scp", "tokens.ark:14", "other.ark:14"), "wav.scp:1: archive .*other.ark is missing"),
        (edit("utt2num_tokens", "0000 ", "0000 1"), "utt2num_tokens: utterance spk00-utt0000 has 1.* tokens"),
        (edit("utt2num_samples", "0000 ", "0000 x"), "utt2num_samples:1: expected `utterance count`"),
        (edit("utt2num_samples", "spk00-utt0000", "other"), "utt2num_samples: utterance spk00-utt0000 .* is missing"),
        (lambda d: (d / "utt2num_samples").unlink(), "utt2num_samples is missing"),
        (lambda d: (d / "wav.scp").unlink(), "wav.scp is missing"),
        (lambda d: (d / "manifest.json").unlink(), "no manifest.json beside it.*has not finished"),
        (lambda d: (d / "manifest.json").write_text("{"), "damaged manifest"),
        (lambda d: edit_manifest(d, layout_version=2), "layout version 2, this package reads 1"),
        (lambda d: edit_manifest(d, num_utterances=11), "10 utterances .10 different., 11 by manifest.json"),
        (lambda d: edit_manifest(d, num_codebooks=2), "damaged manifest.*disagree"),
        (lambda d: edit_manifest(d, frame_rate="12.5.1"), "damaged manifest"),
        (lambda d: edit_manifest(d, codebook_sizes=[2]), "out of range .0 to 1."),
        (lambda d: edit_manifest(d, frame_rate="25"), "utt2num_tokens: .*the files are not of one dump"),
    ],
)
def test_damaged_dump_is_refused(damage, message, reference, tmp_path):
    directory = tmp_path / "set"
    shutil.copytree(reference, directory)
    assert len(list(read_tokens(directory))) == 10
    damage(directory)
    with pytest.raises(SiTokError, match=message):
        list(read_tokens(directory))


def test_absent_dump(tmp_path):
    with pytest.raises(SiTokError, match="set: no such token file or dump directory"):
        read_tokens(tmp_path / "set")
