"""An experiment directory with a tiny complete model, as training leaves it, for tests of inference."""

import shutil
from pathlib import Path

import numpy as np
import torch
import yaml
from speech_generator import speech
from tiny import tiny_config

from sitok_espnet.sitok.mel.log_mel import LogMel
from sitok_espnet.sitok.slots import build_model

PIECES = ["<blank>", "<unk>", "\u2581", *"abcdefghijklmnopqrstuvwxyz", "<sos/eos>"]


def experiment_config(**changes) -> dict:
    """Configuration of a complete model of the tiny size, 64 codes."""
    return tiny_config(
        **{
            "seed": 1,
            "token_list": PIECES,
            "normalize": "global_mvn",
            "normalize_conf": {"stats_file": "feats_stats.npz", "eps": 1.0},
            "quantizer_conf": {"codebook_size": 64, "codebook_dim": 8},
            **changes,
        }
    )


def make_model_dir(directory: Path, **changes) -> Path:
    """An experiment directory (config.yaml, statistics, valid.loss.best.pth) of a seeded, untrained tiny model.

    Codebooks are initialised from the latents of generated speech, so that tokens vary; layers of the decoder that
    start at zero are made random, so that its output depends on the tokens.
    """
    directory.mkdir(parents=True, exist_ok=True)
    config = experiment_config(**changes)
    wavs = torch.stack([torch.from_numpy(speech(3.0, seed=s, speaker=s)) for s in range(4)])
    lengths = torch.full((len(wavs),), wavs.shape[1])
    mel = LogMel(**config["feats_extract_conf"])(wavs, lengths)[0].flatten(0, 1).double().numpy()
    stats = directory / "feats_stats.npz"
    np.savez(stats, count=len(mel), sum=mel.sum(0), sum_square=(mel**2).sum(0))
    (directory / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config["seed"])
        model = build_model({**config, "normalize_conf": {**config["normalize_conf"], "stats_file": str(stats)}})
        for parameter in model.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.2)
        with torch.no_grad():
            latents, tokens = model.latents(wavs, lengths)
            model.quantizer.train()
            # Around the latents: a latent that became an entry leaves nothing for the next codebook of a chain, whose
            # entries would be so close together that the last bits, another on each processor, decide which are used.
            noise = 0.3 * latents.std(dim=(0, 1))
            for _ in range(200):  # codebooks of a chain are initialised one after the other
                model.quantizer(latents + noise * torch.randn(latents.shape), tokens)  # pools the latents
                model.quantizer.update_codebook()  # draws the entries from them
                if all(codebook.initialised for codebook in getattr(model.quantizer, "chain", ())):
                    break
    torch.save(model.state_dict(), directory / "valid.loss.best.pth")
    return directory


def refine_model_dir(base: Path, directory: Path, scale: float = 1.05) -> Path:
    """A copy of an experiment with another decoder and the same tokens, as stage 6 leaves it."""
    shutil.copytree(base, directory)
    path = directory / "valid.loss.best.pth"
    state = torch.load(path, weights_only=True)
    state = {key: value * scale if key.startswith("decoder.output") else value for key, value in state.items()}
    torch.save(state, path)
    return directory
