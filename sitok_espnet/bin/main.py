"""The command `sitok`. Parsing only; torch and the model are imported by the sub-command that runs."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from sitok_espnet import __version__
from sitok_espnet.bin.sampling_options import add_sampling
from sitok_espnet.errors import SiTokError
from sitok_espnet.pretrained import default_model, pretrained_language_models, pretrained_models

INPUTS = "audio files, directories (searched for audio), or a wav.scp"
INPUTS_OF_ONE = "a directory (searched for audio), a wav.scp or an audio file"


def get_parser() -> argparse.ArgumentParser:
    """One sub-parser a verb; `module` has the `run(args)` that does it and returns the exit status, or None for 0."""
    parser = argparse.ArgumentParser(
        prog="sitok", description="SiTok: speech to tokens at a low rate, and tokens to speech."
    )
    parser.add_argument("--version", action="version", version=f"sitok {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    encode = verbs.add_parser("encode", help="audio to tokens", description="Encode audio to tokens.")
    encode.add_argument("inputs", nargs="+", metavar="INPUT", help=INPUTS)
    encode.add_argument(
        "-o",
        "--output",
        required=True,
        help="NAME.ark: a token file with NAME.scp, NAME.utt2num_samples and NAME.manifest.json beside it; any other "
        "name: a dump directory as in the recipe, resumed if interrupted",
    )
    _add_model(encode)
    _add_audio(encode)
    encode.set_defaults(module="sitok_espnet.bin.encode")

    decode = verbs.add_parser("decode", help="tokens to audio", description="Decode tokens to 24 kHz wav files.")
    decode.add_argument("tokens", nargs="+", metavar="TOKENS", help="NAME.ark, NAME.scp, or a dump directory")
    decode.add_argument("-o", "--output", required=True, help="directory for <utterance>.wav")
    _add_model(decode)
    _add_decoder(decode)
    decode.set_defaults(module="sitok_espnet.bin.decode")

    resynth = verbs.add_parser(
        "resynth", help="audio to tokens to audio", description="Encode and decode: hear what the tokens keep."
    )
    resynth.add_argument("inputs", nargs="+", metavar="INPUT", help=INPUTS)
    resynth.add_argument(
        "-o", "--output", default="resynth", help="directory for <utterance>.wav (default: %(default)s)"
    )
    _add_model(resynth)
    _add_audio(resynth)
    _add_decoder(resynth)
    resynth.set_defaults(module="sitok_espnet.bin.resynth")

    judge = verbs.add_parser(
        "eval",
        help="judge audio against originals",
        description="Judge anybody's audio against its originals, without a model: results.json, RESULTS.md, pictures.",
    )
    judge.add_argument("--ref", required=True, metavar="AUDIO", help=f"the originals: {INPUTS_OF_ONE}")
    judge.add_argument(
        "--hyp",
        required=True,
        action="append",
        metavar="[NAME=]AUDIO",
        help="a system's audio of the same utterances, likewise; repeat it for more systems (NAME: its folder's name)",
    )
    judge.add_argument("-o", "--output", required=True, help="evaluation directory to fill")
    judge.add_argument("--text", help="transcripts, `utterance words ...` a line: for WER and CER")
    judge.add_argument("--utt2spk", help="`utterance speaker` a line: for the speaker EER")
    judge.add_argument("--utt2lang", help="`utterance language` a line (default: all English)")
    judge.add_argument("--train_text", help="other transcripts, from which the offline recogniser learns word order")
    judge.add_argument("--prompts", help="wav.scp of another recording of each speaker: for sim_prompt")
    judge.add_argument("--metrics", nargs="+", metavar="METRIC", help="columns (default: all that need no download)")
    judge.add_argument("--cache", help="file of measurements, which evaluations may share (default: one in -o)")
    judge.add_argument(
        "--resample",
        action="store_true",
        help="convert everything to 24,000 Hz and compare there (default: all audio must have one rate)",
    )
    judge.add_argument(
        "--fit_length",
        action="store_true",
        help="cut or zero-pad a system's audio at the end to its original's length (for codecs that fill up frames)",
    )
    judge.add_argument("--nj", type=int, default=1, help="processes, one thread each (default: %(default)s)")
    judge.add_argument("--resamples", type=int, default=2000, help="of the bootstrap (default: %(default)s)")
    judge.add_argument("--seed", type=int, default=0, help="of the bootstrap and of the trials (default: %(default)s)")
    judge.add_argument("--spectrograms", type=int, default=3, help="utterances to draw (default: %(default)s)")
    judge.add_argument("--versa", metavar="DIR", help="also write inputs and a configuration for VERSA")
    judge.add_argument("--json", action="store_true", help="print results.json instead of the page")
    judge.set_defaults(module="sitok_espnet.bin.eval")

    params = verbs.add_parser(
        "params", help="parameters of a configuration", description="Count parameters per slot, without building them."
    )
    params.add_argument("config", help="model or training YAML")
    params.add_argument("--json", action="store_true", help="print JSON instead of a table")
    params.set_defaults(module="sitok_espnet.bin.params")

    names = pretrained_language_models()
    tts = verbs.add_parser(
        "tts",
        help="text to speech, in the voice of a prompt",
        description="Speak a text with a language model over tokens. A run-away (cut at its longest length) or empty "
        "result is said on stderr, with exit status 3."
        + ("" if names else " It needs one that you trained (recipe sitok_tts1, docs/tts.md): none comes along."),
    )
    tts.add_argument("--text", required=True, help="what to say, in the form of the training transcripts")
    tts.add_argument("--prompt", metavar="AUDIO", help="whose voice: some seconds of speech (default: any voice)")
    tts.add_argument("--prompt_text", metavar="TEXT", help="what is said in the prompt")
    tts.add_argument("-o", "--output", required=True, help="audio file to write")
    tts.add_argument(
        "--lm",
        required=True,
        help="language model: experiment (exp/lm_...) or packed directory"
        + (f", or one of the package's own: {', '.join(names)}" if names else ""),
    )
    tts.add_argument("--lm_checkpoint", metavar="FILE", help="file in the directory (default: packed or best)")
    tts.add_argument("--resample", action="store_true", help="convert the prompt's sampling rate instead of refusing")
    add_sampling(tts)
    _add_model(tts)
    _add_decoder(tts, whole=True, temperature="decoder_temperature")  # --temperature is of the language model
    tts.set_defaults(module="sitok_espnet.bin.tts")

    report = verbs.add_parser(
        "report",
        help="scores, audio and curves as one HTML page",
        description="Write one self-contained HTML page: tables, players, spectrograms, curves, configuration.",
    )
    report.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="experiment directory (all test sets in its eval/), evaluation directory, or table of probes",
    )
    report.add_argument("-o", "--output", help="the page (default: report.html in the first PATH)")
    report.add_argument(
        "--utterances", type=int, default=5, help="to listen to, shared among the test sets (default: %(default)s)"
    )
    report.add_argument(
        "--audio_format",
        default="flac",
        choices=["flac", "wav", "mp3", "ogg"],
        help="of the players; mp3 and ogg are smaller and lossy (default: %(default)s)",
    )
    report.add_argument("--title", default="", help="heading (default: the name of the experiment)")
    report.set_defaults(module="sitok_espnet.bin.report")
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    names, default = pretrained_models(), default_model()
    parser.add_argument(
        "--model",
        default=os.environ.get("SITOK_MODEL") or default,
        help="packed model or experiment directory"
        + (f", or one of the package's own: {', '.join(names)}" if names else "")
        + " (default: the environment variable SITOK_MODEL"
        + (f", else {default})" if default else ")"),
    )
    parser.add_argument("--checkpoint", help="file in the directory, or `untrained` (default: packed or best)")
    parser.add_argument("--device", default="cpu", help="torch device (default: %(default)s)")
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"], help="(default: %(default)s)")


def _add_audio(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--resample", action="store_true", help="convert other sampling rates instead of refusing")
    parser.add_argument("--batch_seconds", type=float, default=120.0, help="audio in a batch (default: %(default)s)")


def _add_decoder(parser: argparse.ArgumentParser, whole: bool = False, temperature: str = "temperature") -> None:
    """``whole``: the verb decodes short utterances, never in windows. ``temperature``: that option's name."""
    parser.add_argument(
        "--steps", type=int, help="solver steps (default: the packed model's own, or 16; a regression decoder has none)"
    )
    parser.add_argument("--cfg_scale", type=float, default=0.0, help="token guidance, 0 is off (default: %(default)s)")
    parser.add_argument(
        f"--{temperature}",
        type=float,
        metavar="TAU",
        help="scale of the decoder's initial noise, 0 to 2 (default: the packed model's own, or 1)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything random (default: %(default)s)")
    if not whole:
        parser.add_argument(
            "--chunk_seconds",
            type=float,
            metavar="S",
            help="decode longer utterances in overlapping windows, in bounded memory (default: whole)",
        )
    parser.add_argument("--vocoder", help="griffin_lim, or vocos (default: the packed one, or griffin_lim)")
    parser.add_argument(
        "--vocoder_conf",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="option of the vocoder, such as iterations=100 or, for vocos, path=DIR of its training; repeatable",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run `sitok`; returns the exit status. Errors meant for people are one line on stderr and status 2."""
    args = get_parser().parse_args(argv)
    args.arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if getattr(args, "model", "") is None:
            raise SiTokError("no model: give --model DIRECTORY, or set the environment variable SITOK_MODEL")
        return import_module(args.module).run(args) or 0
    except (SiTokError, OSError) as error:
        # One line, whatever a library put into its message.
        print("sitok: error: " + " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("sitok: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
