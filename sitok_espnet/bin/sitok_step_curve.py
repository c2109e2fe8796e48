"""Quality and speed of decoding against solver steps and temperature, before and after refinement (stage 8)."""

import argparse
import sys
from pathlib import Path

from sitok_espnet.bin.command import run_command
from sitok_espnet.errors import SiTokError

MODULE = "sitok_espnet.bin.sitok_step_curve"


def get_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument(
        "--model",
        action="append",
        required=True,
        help="experiment or packed directory, or a checkpoint in it (exp/sitok_x/30epoch.pth); repeat it: the first is "
        "what the others are compared with, and all must have the same tokens",
    )
    parser.add_argument("--data_dir", required=True, help="wav.scp, formatted by stage 2, and text if there is any")
    parser.add_argument("--output_dir", required=True, help="for STEPS.md, steps.json and steps.png")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 8, 16], help="numbers of solver steps")
    parser.add_argument(
        "--temperatures",
        type=float,
        nargs="+",
        default=[1.0],
        metavar="TAU",
        help="scales of the initial noise, each with all numbers of steps; the others are compared with the first",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the decoder's noise and of the bootstrap")
    parser.add_argument("--metrics", nargs="+", default=["mel", "stoi"], metavar="METRIC", help="as of sitok_score")
    parser.add_argument("--train_text", default=None, help="training transcripts for the recogniser's language model")
    parser.add_argument("--cache", default=None, help="file of measurements to share, as of sitok_score; default: none")
    parser.add_argument("--resamples", type=int, default=2000, help="bootstrap resamples")
    parser.add_argument("--device", default="cpu", help="torch device")
    parser.add_argument(
        "--vocoder", help="griffin_lim or vocos; default: that packed with the first model, or griffin_lim"
    )
    parser.add_argument(
        "--vocoder_conf", action="append", default=[], metavar="KEY=VALUE", help="option of the vocoder; repeat it"
    )
    return parser


def main(cmd=None) -> int:
    """Entry point."""
    args = get_parser().parse_args(cmd)
    return run_command("sitok_step_curve", lambda: run(args, sys.argv[1:] if cmd is None else list(cmd)))


def run(args: argparse.Namespace, arguments: list[str]) -> None:
    """Measure, write the page, the numbers and the picture."""
    from sitok_espnet import __version__
    from sitok_espnet.bin.open_model import parse_conf, split_checkpoint
    from sitok_espnet.evaluate import statistics
    from sitok_espnet.evaluate.files import read_transcripts, write_json, write_text
    from sitok_espnet.evaluate.metrics import MetricContext, build_metric
    from sitok_espnet.evaluate.provenance import command_line, describe_machine, git_commit
    from sitok_espnet.evaluate.score_cache import ScoreCache
    from sitok_espnet.evaluate.step_curve import curve_results, measure_curve
    from sitok_espnet.evaluate.step_page import plot_steps, render_steps
    from sitok_espnet.inference import SiTok
    from sitok_espnet.inputs import read_scp
    from sitok_espnet.pretrained import locate
    from sitok_espnet.vocoder.choices import choose_vocoder

    if args.resamples < 1:
        raise SiTokError(f"--resamples must be at least 1, not {args.resamples}")
    data_dir, output_dir = Path(args.data_dir), Path(args.output_dir)
    inputs = sorted(read_scp(data_dir / "wav.scp"), key=lambda item: item.utt)
    texts = read_transcripts(data_dir / "text") if (data_dir / "text").is_file() else {}
    texts = {item.utt: texts[item.utt] for item in inputs if texts.get(item.utt)}
    context = MetricContext.read(Path(args.train_text) if args.train_text else None, texts, data_dir)
    metrics = {name: build_metric(name, context) for name in args.metrics}
    conf = parse_conf(args.vocoder_conf)
    name, conf = choose_vocoder(locate(split_checkpoint(args.model[0])[0]), args.vocoder, conf)
    vocoder = {"vocoder": name, "vocoder_conf": conf}
    models = {}
    for model in args.model:
        folder, checkpoint = split_checkpoint(model)
        tokenizer = SiTok.from_pretrained(folder, checkpoint=checkpoint, device=args.device, **vocoder)
        name = model_name(model)
        if name in models:
            raise SiTokError(f"--model {model}: another model is called {name} too: give folders with different names")
        models[name] = tokenizer
    cache = ScoreCache(Path(args.cache)) if args.cache else None
    curve = measure_curve(models, inputs, args.steps, metrics, texts, args.seed, args.temperatures, cache)
    results = {
        "data": {"utterances": len(inputs), "seed": args.seed, **vocoder},
        "bootstrap": {
            "resamples": args.resamples,
            "seed": args.seed,
            "confidence": statistics.CONFIDENCE,
        },
        "models": {name: {"model_hash": t.model_hash, "codes_hash": t.codes_hash} for name, t in models.items()},
        **curve_results(curve, metrics, args.resamples, args.seed),
        "provenance": {
            "command": command_line(MODULE, arguments),
            "commit": git_commit(),
            "package_version": __version__,
            "machine": describe_machine(),
        },
    }
    write_json(output_dir / "steps.json", results)
    page = render_steps(results)
    write_text(output_dir / "STEPS.md", page)
    plot_steps(results, output_dir / "steps.png")
    print(page)


def model_name(model: str) -> str:
    """``exp/sitok_mini_bpe256`` -> mini_bpe256; of a packed folder, that of the experiment it lies in."""
    from sitok_espnet.bin.open_model import split_checkpoint

    folder = Path(split_checkpoint(model)[0]).resolve()
    folder = folder.parent if folder.name == "packed" else folder
    return folder.name.removeprefix("sitok_")


if __name__ == "__main__":
    sys.exit(main())
