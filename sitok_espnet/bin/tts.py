"""`sitok tts`."""

import argparse
import sys
from pathlib import Path

from sitok_espnet.audio import format_of, read_audio, resample, write_audio
from sitok_espnet.bin.open_model import open_model
from sitok_espnet.bin.sampling_options import sampling_of
from sitok_espnet.errors import SiTokError
from sitok_espnet.sampling import sampling_options
from sitok_espnet.speechlm.checkpoint import load_speech_lm
from sitok_espnet.speechlm.generation import EMPTY, RUNAWAY
from sitok_espnet.speechlm.tts import SiTokTTS

BAD_GENERATION = 3  # exit status


def run(args: argparse.Namespace) -> int:
    """Speak one text; the exit status: 0, or BAD_GENERATION for a run-away or empty result."""
    if (args.prompt is None) != (args.prompt_text is None):
        raise SiTokError("--prompt and --prompt_text belong together: the speech, and what is said in it")
    if args.max_length_ratio is not None and not (args.prompt_text or "").strip():
        raise SiTokError(
            "--max_length_ratio is of the prompt's speaking rate: give --prompt and --prompt_text, or leave it"
        )
    # A bad option is better said before the models are opened.
    sampling_options(args.steps, args.cfg_scale, args.seed, args.decoder_temperature)
    format_of(args.output)
    recording = read_audio(args.prompt) if args.prompt else None
    loaded = load_speech_lm(args.lm, args.lm_checkpoint, args.device)
    sampling = sampling_of(args, loaded.model.vocabulary.frame_rate)
    tts = SiTokTTS(loaded, open_model(args))
    prompt = None
    if recording:
        wav, rate = recording
        if args.resample:
            wav, rate = resample(wav, rate, tts.tokenizer.sample_rate), tts.tokenizer.sample_rate
        prompt = tts.make_prompt(wav, rate, args.prompt_text)
    decoding = {"steps": args.steps, "cfg_scale": args.cfg_scale, "decoder_temperature": args.decoder_temperature}
    (spoken,) = tts.speak([args.text], [prompt], sampling, [args.seed], **decoding)
    if spoken.status == EMPTY:
        Path(args.output).unlink(missing_ok=True)  # an older result would look like this one
        print("sitok tts: empty: the model ended before it said anything, nothing is written", file=sys.stderr)
        return BAD_GENERATION
    write_audio(Path(args.output), spoken.wav, tts.tokenizer.sample_rate)
    seconds = len(spoken.wav) / tts.tokenizer.sample_rate
    print(f"{args.output}: {seconds:.2f} s, {len(spoken.codes)} tokens")
    if spoken.status == RUNAWAY:
        print(
            f"sitok tts: run-away: the model had not ended after {seconds:.2f} s, so the speech is cut there: another "
            "--seed may help, or more --max_seconds or --max_length_ratio where the text is not said to its end",
            file=sys.stderr,
        )
        return BAD_GENERATION
    return 0
