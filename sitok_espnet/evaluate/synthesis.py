"""Write the audio of every system into an evaluation directory; finished systems are kept."""

import functools
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from tqdm import tqdm

from sitok_espnet.audio import write_audio
from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate import first_chunk
from sitok_espnet.evaluate.earlier import REFINED, EarlierModel, row_order
from sitok_espnet.evaluate.files import read_json, write_json, write_table, write_text
from sitok_espnet.evaluate.peer_rows import PEER, PeerRow, speed_measured
from sitok_espnet.evaluate.provenance import describe_machine
from sitok_espnet.evaluate.systems import SYSTEMS, SystemUnavailable, Workshop

NOT_RUN = "not_run"  # file in a system's folder with the reason why it has no audio
SETTINGS = "settings.json"
TOKENIZER = "tokenizer.json"
TOKENS = "tokens.json"
TIMING = "timing.json"
TIMED = "reconstruction"  # the system whose speed is measured
NOT_IN_AUDIO = ("device", "threads")  # settings that decide its speed only
SYSTEM_SETTINGS = "settings"  # key in TOKENIZER
CTC_TEXT = "ctc_text"
SOURCE_RATE = "utt2rate"  # Hz, of utterances whose audio was converted up from a lower rate
CLIPPED = "utt2clipped"  # samples beyond [-1, 1] that had to be clipped, for the utterances that have any


@dataclass(frozen=True)
class ModelCard:
    """What the score table must know about the model without opening it.

    Attributes:
        checkpoint: name of the weights' file.
        model_hash, codes_hash, mel_hash, config_hash: 16 hex digits each.
        parameters: number of trainable parameters.
        frame_rate: tokens a second, an exact fraction such as "25/2".
        codebook_sizes: entries of each codebook; empty for a continuous model.
        vocoder: its name.
        ctc_not_run: why there are no CTC transcripts, or None if there are.
        vocoder_conf: its options, where they are not the defaults.
        vocoder_hash: of its trained weights, None where it has none.
        earlier: rows of models before refinement, such as ``reconstruction_unrefined``.
        peers: rows of other codecs, such as ``peer_opus_6k``, and their names, such as ``opus:6``.
    """

    checkpoint: str
    model_hash: str
    codes_hash: str
    mel_hash: str
    config_hash: str
    parameters: int
    frame_rate: str
    codebook_sizes: tuple[int, ...]
    vocoder: str
    ctc_not_run: str | None = None
    vocoder_conf: dict = field(default_factory=dict)
    vocoder_hash: str | None = None
    earlier: tuple[str, ...] = ()
    peers: dict[str, str] = field(default_factory=dict)


def synthesize(
    shop: Workshop,
    card: ModelCard,
    output_dir: Path,
    systems: Sequence[str] | None = None,
    earlier: Sequence[EarlierModel] = (),
    peers: Sequence[PeerRow] = (),
) -> None:
    """Write ``<output_dir>/<system>/{wav.scp,wav/*.wav,settings.json}`` (24 kHz, PCM_16) and the model's own outputs.

    A system whose wav.scp is there, made with the same settings, is kept. ``reconstruction`` also writes timing.json,
    and is made again if that is missing or was measured on another device or number of threads.

    Args:
        shop, card: inputs and model.
        output_dir: the evaluation directory.
        systems: rows to make beside the peers; None is all.
        earlier: models that this one was refined from, one row each; opened when their turn comes.
        peers: other codecs, one row each; each also writes ``<output_dir>/<row>/peer.json``.

    Raises:
        SiTokError: unknown system, unreadable audio, an earlier model with other tokens.
    """
    before = {model.row: model for model in earlier}
    systems = row_order(card.vocoder, before) if systems is None else systems
    if unknown := [name for name in systems if name not in {*SYSTEMS, *before}]:
        choices = ", ".join([*SYSTEMS, *before])
        raise SiTokError(f"unknown system {unknown[0]!r}: choose from {choices} (option --systems)")
    card = replace(
        card,
        earlier=tuple(name for name in before if name in systems),
        peers={row.key: row.name for row in peers},
    )
    expected = {name: _settings(shop, card, name) for name in SYSTEMS}
    for name in systems:
        folder = output_dir / name
        its_shop, its_card, function = shop, card, SYSTEMS.get(name)
        if model := before.get(name):
            its_shop, function = model.workshop(shop), SYSTEMS[REFINED]
            its_card = replace(card, model_hash=its_shop.tokenizer.model_hash)
        settings = expected[name] = _settings(its_shop, its_card, name)
        if _finished(folder, settings):
            logging.info("%s: finished, kept", name)
            continue
        finish = functools.partial(_write_timing, its_shop, output_dir) if name == TIMED else None
        _write_system(its_shop, function, folder, settings, finish)
    for row in peers:
        expected[row.key] = _write_peer(shop, row, output_dir / row.key)
    _write_model_outputs(shop, card, expected, output_dir)


def check_settings(output_dir: Path, system: str) -> None:
    """Whether a system's audio was made with the settings of the last call of :func:`synthesize` in this directory.

    A call with some of the systems leaves the others as they were: of an earlier training, vocoder, number of steps.

    Raises:
        SiTokError: it is not there or was made with other settings; which ones.
    """
    again = f"sitok_synth_systems {_option_for(output_dir, system)}"
    folder = output_dir / system
    if not (folder / "wav.scp").is_file():
        if (folder / NOT_RUN).is_file():
            raise SiTokError((folder / NOT_RUN).read_text(encoding="utf-8").strip())
        raise SiTokError(f"not synthesized ({again})")
    wanted = read_json(output_dir / TOKENIZER).get(SYSTEM_SETTINGS, {}).get(system)
    if wanted is None:
        raise SiTokError(f"{TOKENIZER} does not say how it should have been made: synthesize it again ({again})")
    made = read_json(folder / SETTINGS)
    keys = [key for key in wanted if key not in NOT_IN_AUDIO and made.get(key) != wanted[key]]
    if keys:
        differences = ", ".join(f"{key} {made.get(key)}, not {wanted[key]}" for key in keys)
        raise SiTokError(f"made with other settings than the last synthesis ({differences}): {again}")


def _option_for(output_dir: Path, system: str) -> str:
    """The option of sitok_synth_systems that makes a row."""
    card = read_json(output_dir / TOKENIZER) if (output_dir / TOKENIZER).is_file() else {}
    peer = card.get("peers", {}).get(system)
    return f"--peers {peer}" if peer else f"--systems {system}"


def _data_hash(shop: Workshop) -> str:
    data = "\n".join(f"{item.utt} {item.location} {_size(item.location)}" for item in shop.inputs)
    return hashlib.sha256(data.encode()).hexdigest()[:16]


def _settings(shop: Workshop, card: ModelCard, name: str) -> dict:
    """Everything that decides a system's audio and, for the timed one, how fast it was made."""
    settings = {
        "system": name,
        "model_hash": card.model_hash,
        "vocoder": card.vocoder,
        "vocoder_conf": card.vocoder_conf,
        "vocoder_hash": card.vocoder_hash,
        **vars(shop.sampling),
        "cfg_scale": shop.cfg_scale if name == "reconstruction_cfg" else 0.0,
        "seed": shop.seed,
        "data_hash": _data_hash(shop),
    }
    if name == "original":
        return {"system": name, "data_hash": settings["data_hash"]}
    if name == "copy_griffin_lim":
        settings |= {"vocoder": "griffin_lim", "vocoder_conf": {}, "vocoder_hash": None}
    if name == TIMED:
        settings |= {"device": str(shop.tokenizer.device), "threads": torch.get_num_threads()}
    return settings


def _size(location: str) -> int:
    path = Path(location)
    return path.stat().st_size if path.is_file() else 0  # an archive entry has no size of its own


def _finished(folder: Path, settings: dict) -> bool:
    if not (folder / "wav.scp").is_file():
        return False
    if folder.name == TIMED and not (folder.parent / TIMING).is_file():
        logging.warning("%s is missing: %s is made again, to measure its speed", folder.parent / TIMING, folder.name)
        return False
    if (folder / SETTINGS).is_file() and read_json(folder / SETTINGS) == settings:
        return True
    logging.warning("%s was made with other settings: it is made again", folder)
    return False


def _write_peer(shop: Workshop, row: PeerRow, folder: Path) -> dict:
    """Make a peer's row unless it is finished; its settings."""
    settings = row.settings(_data_hash(shop))
    if _finished(folder, settings) or speed_measured(folder, settings, SETTINGS):
        logging.info("%s: finished, kept", row.key)
        return settings
    for stale in (PEER, SETTINGS):
        (folder / stale).unlink(missing_ok=True)
    _write_system(shop, row.audio, folder, settings, lambda: row.write(folder))
    if row.coded and (folder / NOT_RUN).is_file():  # timed with random weights
        row.write(folder)
        write_json(folder / SETTINGS, settings)
    return settings


def _write_system(
    shop: Workshop, function: Callable, folder: Path, settings: dict, finish: Callable[[], None] | None = None
) -> None:
    """Audio of all utterances, then what ``finish`` writes, then what says that the row is finished."""
    name = folder.name
    for stale in ("wav.scp", NOT_RUN, CLIPPED):
        (folder / stale).unlink(missing_ok=True)
    if name == TIMED:
        (folder.parent / TIMING).unlink(missing_ok=True)
    locations: dict[str, str] = {}
    clipped: dict[str, str] = {}
    made = zip(shop.inputs, function(shop), strict=True)
    progress = tqdm(made, desc=name, total=len(shop.inputs), unit="utt", mininterval=1.0)
    try:
        for item, wav in progress:
            path = folder / "wav" / f"{item.utt}.wav"
            if count := write_audio(path, wav, shop.tokenizer.sample_rate):
                clipped[item.utt] = str(count)
            locations[item.utt] = str(path)
    except SystemUnavailable as error:
        write_text(folder / NOT_RUN, f"{error}\n")
        logging.warning("%s: not run: %s", name, error)
        return
    if clipped:
        write_table(folder / CLIPPED, clipped)
    if finish is not None:
        finish()
    write_json(folder / SETTINGS, settings)
    write_table(folder / "wav.scp", locations)  # last: its presence means finished


def _write_timing(shop: Workshop, output_dir: Path) -> None:
    content = {
        "threads": torch.get_num_threads(),
        "device": str(shop.tokenizer.device),
        **vars(shop.sampling),
        "batch": "one utterance, after one warm-up utterance",
        "machine": describe_machine(),
        "first_chunk": first_chunk.describe(shop.tokenizer),
        "utterances": {utt: asdict(timing) for utt, timing in sorted(shop.timings.items())},
    }
    write_json(output_dir / TIMING, content)


def _write_model_outputs(shop: Workshop, card: ModelCard, expected: dict[str, dict], output_dir: Path) -> None:
    """Tokens (if the model has codes), the CTC branch's transcripts and the model's card.

    The card also says with which settings each system's audio belongs to it, for :func:`check_settings`.
    """
    codes = {item.utt: shop.codes(item) for item in shop.inputs}
    if card.codebook_sizes:
        tokens = {utt: codes[utt].tolist() for utt in sorted(codes)}
        write_text(output_dir / TOKENS, json.dumps(tokens) + "\n")
    else:
        (output_dir / TOKENS).unlink(missing_ok=True)
    content = asdict(card) | {SYSTEM_SETTINGS: expected}
    try:
        transcripts = shop.tokenizer.transcribe(list(codes.values()))
    except SiTokError as error:
        content["ctc_not_run"] = str(error)
        (output_dir / CTC_TEXT).unlink(missing_ok=True)
    else:
        write_table(output_dir / CTC_TEXT, dict(zip(codes, transcripts, strict=True)))
    write_json(output_dir / TOKENIZER, content)
