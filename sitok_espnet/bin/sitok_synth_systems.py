"""Synthesize the test set with every system of the score table (stage 8, first half)."""

import argparse
import functools
import hashlib
import sys
from pathlib import Path

from sitok_espnet.bin.command import run_command


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--model", required=True, help="experiment directory (stage 5) or packed directory (stage 9)")
    parser.add_argument("--checkpoint", default=None, help="file name in it; default: the packed or best one")
    parser.add_argument(
        "--earlier",
        action="append",
        default=[],
        metavar="NAME=MODEL",
        help="a model that --model was refined from (MODEL may end with a checkpoint's name): one more row, "
        "reconstruction_NAME; repeat it for more",
    )
    parser.add_argument("--data_dir", required=True, help="directory with wav.scp, formatted by stage 2")
    parser.add_argument("--output_dir", required=True, help="evaluation directory to fill")
    parser.add_argument("--systems", nargs="+", default=None, metavar="SYSTEM", help="which ones; default: all")
    parser.add_argument(
        "--steps", type=int, default=None, help="solver steps of the decoder; default: the packed model's own, or 16"
    )
    parser.add_argument(
        "--temperature", type=float, default=None, help="scale of its initial noise; default: the model's own, or 1"
    )
    parser.add_argument("--cfg_scale", type=float, default=1.0, help="token guidance of reconstruction_cfg")
    parser.add_argument("--seed", type=int, default=0, help="of the decoder's noise and of the choice of other tokens")
    parser.add_argument("--device", default="cpu", help="torch device")
    parser.add_argument("--vocoder", default=None, help="griffin_lim or vocos; default: the packed one, or griffin_lim")
    parser.add_argument(
        "--vocoder_conf",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="option of the vocoder, such as iterations=100 or, for vocos, path=DIR of its training; repeatable",
    )
    parser.add_argument(
        "--peers",
        nargs="+",
        default=[],
        metavar="CODEC:SETTING",
        help="other codecs, one more row each, such as opus:6 codec2:1200 encodec:1.5 mimi:8",
    )
    parser.add_argument(
        "--peer_dir", default=None, help="where their programs and weights may lie: DIR/codec2, DIR/mimi ..."
    )
    return parser


def main(cmd=None) -> int:
    """Entry point."""
    args = get_parser().parse_args(cmd)
    return run_command("sitok_synth_systems", lambda: run(args))


def run(args: argparse.Namespace) -> None:
    """Open the model and write the systems' audio."""
    from sitok_espnet.bin.open_model import parse_conf, split_checkpoint
    from sitok_espnet.evaluate.earlier import parse_earlier
    from sitok_espnet.evaluate.peer_rows import open_rows
    from sitok_espnet.evaluate.synthesis import ModelCard, synthesize
    from sitok_espnet.evaluate.systems import Workshop
    from sitok_espnet.inference import SiTok
    from sitok_espnet.inputs import read_scp
    from sitok_espnet.pretrained import locate
    from sitok_espnet.vocoder.choices import choose_vocoder

    peers = open_rows(args.peers, Path(args.peer_dir) if args.peer_dir else None, args.device)
    folder = locate(args.model)
    name, conf = choose_vocoder(folder, args.vocoder, parse_conf(args.vocoder_conf))
    vocoder = {"vocoder": name, "vocoder_conf": conf}

    def open_model(model: str | Path, checkpoint: str | None) -> SiTok:
        return SiTok.from_pretrained(model, checkpoint=checkpoint, device=args.device, **vocoder)

    inputs = sorted(read_scp(Path(args.data_dir, "wav.scp")), key=lambda item: item.utt)
    tokenizer = open_model(folder, args.checkpoint)
    earlier = [parse_earlier(pair, lambda model: open_model(*split_checkpoint(model))) for pair in args.earlier]
    untrained = functools.partial(open_model, folder, "untrained")
    shop = Workshop(inputs, tokenizer, untrained, args.steps, args.cfg_scale, args.seed, args.temperature)
    card = ModelCard(
        checkpoint=args.checkpoint or "default",
        model_hash=tokenizer.model_hash,
        codes_hash=tokenizer.codes_hash,
        mel_hash=tokenizer.mel_config.hash(),
        config_hash=hashlib.sha256((folder / "config.yaml").read_bytes()).hexdigest()[:16],
        parameters=sum(parameter.numel() for parameter in tokenizer.model.parameters()),
        frame_rate=str(tokenizer.frame_rate),
        codebook_sizes=tokenizer.codebook_sizes,
        vocoder_hash=tokenizer.vocoder.identity,
        **vocoder,
    )
    synthesize(shop, card, Path(args.output_dir), args.systems, earlier, peers)


if __name__ == "__main__":
    sys.exit(main())
