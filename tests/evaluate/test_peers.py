"""Other codecs: round trips, bits, alignment; programs and weights that are not there."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import correlate, fftconvolve, firwin
from speech_generator import speech

from sitok_espnet import resample
from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.peer_rows import PeerRow
from sitok_espnet.evaluate.peers import PEERS, PeerUnavailable, build_peer, peer_row, peer_title
from sitok_espnet.evaluate.peers import codec2 as codec2_module
from sitok_espnet.evaluate.plots import log_mel

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 3.0


def lag(output: np.ndarray, wav: np.ndarray, most: int = 1200) -> int:
    """Samples by which the output is late: the peak of the cross-correlation within `most` samples."""
    both = correlate(output - output.mean(), wav - wav.mean(), method="fft")
    middle = len(wav) - 1
    return int(both[middle - most : middle + most + 1].argmax()) - most


def envelope(wav: np.ndarray) -> np.ndarray:
    return fftconvolve(np.abs(wav), firwin(801, 50, fs=24000), "same")


@pytest.mark.parametrize(
    "name, row, title",
    [
        ("opus:6", "peer_opus_6k", "Opus, 6 kbit/s"),
        ("opus:6:60", "peer_opus_6k_60ms", "Opus, 6 kbit/s, frames of 60 ms"),
        ("opus:7.5", "peer_opus_7k5", "Opus, 7.5 kbit/s"),
        ("codec2:1200", "peer_codec2_1200", "Codec2, mode 1200"),
        ("codec2:700C", "peer_codec2_700C", "Codec2, mode 700C"),
        ("encodec:1.5", "peer_encodec_1k5", "EnCodec, 1.5 kbit/s"),
        ("encodec:6", "peer_encodec_6k", "EnCodec, 6 kbit/s"),
        ("dac:2", "peer_dac_2", "DAC, 2 codebooks"),
        ("mimi:8", "peer_mimi_8", "Mimi, 8 codebooks"),
        ("snac:24khz", "peer_snac_24khz", "SNAC, 24 kHz"),
    ],
)
def test_names_rows_and_titles(name, row, title):
    assert peer_row(name) == row and peer_title(row) == title
    assert row.replace("_", "").isalnum()


def test_other_rows_have_no_peer_title():
    assert peer_title("original") is None and peer_title("peer_ours_1") is None and peer_title("opus_6k") is None


@pytest.mark.parametrize(
    "name, message",
    [
        ("opus", "unknown peer 'opus': expected CODEC:SETTING"),
        ("mp3:8", "unknown peer 'mp3:8'.*codec2:1200"),
        ("opus:5", "opus:5: expected 6 to 510 kbit/s"),
        ("opus:6:30", "10, 20, 40, 60 ms"),
        ("opus:fast", "expected 6 to 510"),
        ("opus:nan", "expected 6 to 510"),
        ("codec2:700", "expected one of 3200, .*700C"),
        ("encodec:2", "expected one of 1.5, 3, 6, 12, 24 kbit/s"),
        ("dac:33", "number of codebooks, 1 to 32"),
        ("mimi:0", "number of codebooks, 1 to 32"),
        ("snac:32khz", "expected 24khz"),
    ],
)
def test_settings_that_do_not_exist(name, message):
    with pytest.raises(SiTokError, match=message):
        build_peer(name)


def test_every_example_is_a_setting():
    for codec in PEERS.values():
        rows = [peer_row(f"{codec.codec}:{example}") for example in codec.examples]
        assert len(set(rows)) == len(codec.examples)


# ---- Opus ----


@pytest.mark.parametrize("setting", ["6", "8", "12", "6:60"])
def test_opus_is_aligned_and_at_its_rate(setting):
    wav = speech(SECONDS, seed=1)
    peer = build_peer(f"opus:{setting}")
    output, bits = peer(wav)
    assert output.shape == wav.shape and output.dtype == np.float32
    assert abs(lag(output, wav)) <= 8  # a third of a ms; the delay that is taken out is 156
    assert bits / SECONDS == pytest.approx(peer.nominal, rel=0.25)
    assert np.corrcoef(output, wav)[0, 1] > 0.6


def test_more_opus_is_nearer_to_the_original():
    wav = speech(SECONDS, seed=2)
    outputs = [build_peer(f"opus:{kilobits}")(wav)[0] for kilobits in (6, 12, 24)]
    distances = [np.abs(log_mel(output, 24000) - log_mel(wav, 24000)).mean() for output in outputs]
    assert distances[0] > 1.2 * distances[1] > 1.4 * distances[2]


def test_opus_counts_the_bytes_of_its_packets():
    peer = build_peer("opus:8")
    coded = peer.encode(speech(1.0))
    header, packets = coded.payload
    assert coded.bits == 8 * sum(len(packet) for packet in packets)
    late = int.from_bytes(header[10:12], "little") / 48000
    assert len(packets) == np.ceil((1.0 + late) / 0.02)


@pytest.mark.parametrize("samples", [1, 479, 480, 481, 24001])
def test_opus_keeps_any_length(samples):
    output, bits = build_peer("opus:6")(0.1 * np.ones(samples, dtype=np.float32))
    assert output.shape == (samples,) and np.isfinite(output).all() and bits > 0


def test_silence_stays_silent():
    output, bits = build_peer("opus:6")(np.zeros(12000, dtype=np.float32))
    assert np.abs(output).max() < 1e-3 and 0 < bits < 6000


def test_what_is_no_signal_at_24_khz_is_refused():
    peer = build_peer("opus:6")
    with pytest.raises(SiTokError, match="16000 Hz.*24000 Hz"):
        peer(np.zeros(160, dtype=np.float32), 16000)
    for wrong in (np.zeros(0, np.float32), np.zeros((2, 8), np.float32), np.array([np.nan], np.float32)):
        with pytest.raises(SiTokError):
            peer(wrong)


# ---- Codec2 ----


@pytest.fixture
def stand_in(monkeypatch):
    """Codec2 without its programs: `sent` is what they were given, `frames` what the encoder says."""

    class StandIn:
        def __init__(self):
            self.sent, self.frames, self.pcm = {}, b"", b""

        def run(self, peer, program, data):
            self.sent[program] = data
            return self.frames if program == "c2enc" else self.pcm

    programs = StandIn()
    found = {"c2enc": "/nowhere/bin/c2enc", "c2dec": "/nowhere/bin/c2dec"}
    monkeypatch.setattr(codec2_module, "find_programs", lambda directory: (found, {}))
    monkeypatch.setattr(codec2_module.Codec2, "_try_programs", lambda self: None)
    monkeypatch.setattr(codec2_module.Codec2, "_run", lambda *args: programs.run(*args))
    return programs


@pytest.mark.parametrize("setting, bits_per_second", [("3200", 3200), ("1300", 1300), ("1200", 1200), ("700C", 700)])
def test_bits_are_those_of_the_code_and_reach_the_decoder(stand_in, setting, bits_per_second):
    peer, mode = build_peer(f"codec2:{setting}"), codec2_module.MODES[setting]
    assert peer.nominal == bits_per_second and peer.version.startswith("unknown")
    seconds = 1.0
    count = int(np.ceil((8000 * seconds + mode.delay) / mode.samples))
    bits = np.random.default_rng(0).integers(0, 2, (count, mode.bits), dtype=np.uint8)
    stand_in.frames = np.packbits(bits, axis=1).tobytes()  # every frame in whole bytes, as c2enc writes them
    coded = peer.encode(np.zeros(24000, dtype=np.float32))
    assert len(stand_in.sent["c2enc"]) == 2 * count * mode.samples
    assert coded.bits == 8 * np.ceil(count * mode.bits / 8)
    stand_in.pcm = np.zeros(count * mode.samples, "<i2").tobytes()
    peer.decode(coded.payload, 24000)
    assert stand_in.sent["c2dec"] == stand_in.frames


def test_the_delay_is_taken_out(stand_in):
    wav = resample(resample(speech(1.0, seed=3), 24000, 8000), 8000, 24000)
    peer = build_peer("codec2:1200")
    stand_in.frames = bytes(6 * 26)
    coded = peer.encode(wav)
    late = np.concatenate([np.zeros(160, "<i2"), np.frombuffer(stand_in.sent["c2enc"], "<i2")])
    stand_in.pcm = late.tobytes()
    np.testing.assert_allclose(peer.decode(coded.payload, len(wav))[500:-500], wav[500:-500], atol=0.02)


def test_missing_programs_say_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    for directory in (None, tmp_path):
        with pytest.raises(PeerUnavailable, match="apt-get install codec2.*local/fetch_codec2.sh.*--peer_dir"):
            build_peer("codec2:1200", directory)


def test_programs_of_an_unpacked_package_come_first(tmp_path, monkeypatch):
    for tree in (tmp_path / "codec2/usr", tmp_path / "system"):
        (tree / "bin").mkdir(parents=True)
        for name in ("c2enc", "c2dec"):
            (tree / "bin" / name).write_text('#!/bin/sh\necho "$LD_LIBRARY_PATH" >&2\nexit 3\n')
            (tree / "bin" / name).chmod(0o755)
    (tmp_path / "codec2/usr/lib").mkdir()
    (tmp_path / "codec2/usr/lib/libcodec2.so.9").write_text("")
    monkeypatch.setenv("PATH", f"{tmp_path / 'system/bin'}:/usr/bin:/bin")
    with pytest.raises(PeerUnavailable, match=f"c2enc 1200 failed with status 3: {tmp_path}/codec2/usr/lib"):
        build_peer("codec2:1200", tmp_path)
    with pytest.raises(PeerUnavailable, match="c2enc 1200 failed with status 3: no output"):
        build_peer("codec2:1200")


@pytest.mark.parametrize(
    "content, message",
    [
        ("#!/bin/sh\necho $0: no libcodec2.so.9 >&2\nexit 127\n", "failed with status 127: c2enc: no libcodec2.so.9"),
        ("\x7fELF of another processor", "c2enc cannot be started"),
        ("#!/bin/sh\nprintf x\n", "do not work here"),
    ],
)
def test_broken_programs_are_a_row_that_says_so(tmp_path, monkeypatch, content, message):
    for name in ("c2enc", "c2dec"):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    row = PeerRow.open("codec2:1200", None, "cpu")
    assert row.peer is None and message in row.reason and "apt-get install codec2" in row.reason
    assert str(tmp_path) not in row.reason


def installed_codec2(mode: str):
    """The real codec, from the system or from the mini recipe's stage 8."""
    try:
        return build_peer(f"codec2:{mode}", ROOT / "egs2/mini_asterisk/sitok1/data/local/peers")
    except PeerUnavailable as error:
        pytest.skip(f"Codec2 is not on this machine: {error}")


@pytest.mark.parametrize("mode", codec2_module.MODES)
def test_real_codec2(mode):
    peer = installed_codec2(mode)
    wav = speech(SECONDS, seed=4)
    output, bits = peer(wav)
    assert output.shape == wav.shape and output.dtype == np.float32
    assert abs(lag(envelope(output), envelope(wav))) <= 240  # 10 ms, the step of its parameters
    assert bits / SECONDS == pytest.approx(peer.nominal, rel=0.03)
    np.testing.assert_array_equal(peer(wav)[0], output)  # its noise does not depend on what came before
    for samples in (1, 239, 24001):
        assert peer(0.1 * np.ones(samples, dtype=np.float32))[0].shape == (samples,)
    assert np.sqrt(np.mean(peer(np.zeros(24000, dtype=np.float32))[0] ** 2)) < 0.01


def test_a_missing_package_says_how_to_get_it(monkeypatch):
    from importlib.metadata import PackageNotFoundError

    from sitok_espnet.evaluate.peers import abs_neural, opus

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(abs_neural, "version", missing)
    monkeypatch.setattr(opus, "version", missing)
    with pytest.raises(PeerUnavailable, match="snac is not installed: pip install snac"):
        build_peer("snac:24khz")
    with pytest.raises(PeerUnavailable, match="pip install av"):
        build_peer("opus:6")


def test_names_need_no_heavy_import():
    """The table asks for titles: it must not import torch, transformers or PyAV for them."""
    code = "import sys; import sitok_espnet.evaluate.peers as p; p.peer_title('peer_mimi_8'); "
    code += "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'av', 'snac')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
