"""SiTok as a codec of ESPnet's own speech-LM recipes (DESIGN sections 3 and 8, ESPnet adapter).

Importing this module registers ``codec: sitok`` in ``espnet2.tasks.gan_codec``, so that a YAML of three lines

    codec: sitok
    codec_conf: {model: exp/sitok_mini_25hz_bpe256/packed}
    use_preprocessor: true

is a ``train_config`` of ``espnet2.bin.gan_codec_inference.AudioCoding`` (its ``model_file`` stays None: the weights are
the tokenizer's own). ``python -m sitok_espnet.espnet_codec --model DIR --output codec.yaml`` writes it whole.

ESPnet 202511 wraps a codec in ``ESPnetGANCodecModel``; names and shapes of the methods here are those it calls.
"""

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from espnet2.gan_codec.abs_gan_codec import AbsGANCodec
from espnet2.tasks.gan_codec import GANCodecTask, codec_choices
from torch import Tensor, nn

from sitok_espnet.checkpoint import read_config
from sitok_espnet.errors import SiTokError
from sitok_espnet.inference import SiTok
from sitok_espnet.pretrained import default_model, locate
from sitok_espnet.sitok.slots import build_slot

NAME = "sitok"
PADDING = -1  # in codes (N, B, T) of rows of different lengths, here


class _Generator(nn.Module):
    """Where ESPnet looks for continuous features: ``codec.generator.encoder`` and ``.decoder``."""

    def __init__(self, codec: "SiTokCodec") -> None:
        super().__init__()
        self._codec = (codec,)  # in a tuple: not a child, which would be a cycle

    def encoder(self, audio: Tensor) -> Tensor:
        """(B, 1, S) -> latents before quantization (B, D, T)."""
        return self._codec[0].latents(audio)

    def decoder(self, latents: Tensor) -> Tensor:
        """Refused: SiTok's decoder reads quantized latents."""
        raise SiTokError("SiTok decodes codes, not latents before quantization: use encode and decode")


class SiTokCodec(AbsGANCodec):
    """A trained tokenizer behind ESPnet's codec contract; for inference alone.

    Shapes: B batch, S samples at ``fs``, N streams (codebooks), T = ceil(S / frame_shift) frames.

    The model is opened at the first encode or decode: data workers, which only ask for ``meta_info``, build none.

    Args:
        model: experiment or packed directory, or a name of sitok_espnet.pretrained; None is the package's own.
        checkpoint: file name in it; None is the packed or best one.
        steps, cfg_scale, seed, temperature: of decoding, see SiTok.decode.
        vocoder, vocoder_conf: see SiTok.from_pretrained.

    Raises:
        SiTokError: there is no such model, or it has no codes.
    """

    def __init__(
        self,
        model: str | None = None,
        checkpoint: str | None = None,
        steps: int | None = None,
        cfg_scale: float = 0.0,
        seed: int = 0,
        vocoder: str | None = None,
        vocoder_conf: dict | None = None,
        temperature: float | None = None,
    ) -> None:
        super().__init__()
        model = model or default_model()
        if model is None:
            raise SiTokError("codec_conf has no model: name the folder of a SiTok experiment or packed model")
        self.directory = locate(model)
        self._open = {"checkpoint": checkpoint, "vocoder": vocoder, "vocoder_conf": vocoder_conf}
        self._decode = {"steps": steps, "cfg_scale": cfg_scale, "seed": seed, "temperature": temperature}
        self._warned = False
        meta = meta_info(self.directory)
        self.fs: int = meta["fs"]
        self.num_streams: int = meta["num_streams"]
        self.frame_shift: int = meta["frame_shift"]
        self.code_size_per_stream: list[int] = meta["code_size_per_stream"]
        # ESPnet asks for both; nothing is trained through them.
        self.generator, self.discriminator = _Generator(self), nn.Identity()
        # Moves with .to(device), so that the model opens where ESPnet has put its codec.
        self.register_buffer("_where", torch.zeros(()), persistent=False)

    @cached_property
    def tokenizer(self) -> SiTok:
        """The model, opened on the device where this module is."""
        return SiTok.from_pretrained(self.directory, device=str(self._where.device), **self._open)

    def meta_info(self) -> dict[str, Any]:
        """``fs`` in Hz, ``num_streams``, ``frame_shift`` in samples, ``code_size_per_stream``.

        The exact frame rate is ``Fraction(fs, frame_shift)``, 25/2 for the paper's model: an integer division is off.
        """
        return {
            "fs": self.fs,
            "num_streams": self.num_streams,
            "frame_shift": self.frame_shift,
            "code_size_per_stream": list(self.code_size_per_stream),
        }

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: SiTok is trained by its own task (sitok_espnet.bin.sitok_train, stage 5)."""
        raise SiTokError("codec: sitok is for inference; train a tokenizer with stage 5 of a sitok1 recipe")

    def encode(self, x: Tensor, lengths: Sequence[int] | Tensor | None = None, **options: Any) -> Tensor:
        """(B, 1, S) waveforms -> (N, B, T) int64 codes.

        Args:
            x: within [-1, 1], at ``fs`` (which cannot be checked here), zero-padded on the right.
            lengths: samples of each row. The codes beyond a row's own are then PADDING; without lengths every row
                counts as full, and the codes of its padding are those of silence. A row's own codes are the same
                either way: the encoder is causal, and whole frames of zeros follow as they do inside SiTok.
            options: ESPnet may hand over ``target_bw``, which does not apply to one fixed rate; it is refused unless
                None.

        Raises:
            SiTokError: other shapes, several channels, NaN, impossible lengths, unknown options.
        """
        _refuse(options)
        if x.ndim != 3 or x.shape[1] != 1:
            raise SiTokError(f"encode: expected audio (B, 1, samples), got {tuple(x.shape)}")
        wavs = [row[:length] for row, length in zip(x[:, 0], self._lengths(lengths, x, x.shape[2]), strict=True)]
        codes = [torch.from_numpy(item) for item in self.tokenizer.encode(wavs, self.fs)]
        padded = nn.utils.rnn.pad_sequence(codes, batch_first=True, padding_value=PADDING)
        return padded.permute(2, 0, 1).contiguous().to(x.device)

    def latents(self, audio: Tensor) -> Tensor:
        """(B, 1, S) -> latents before quantization (B, D, T), every row counted as full."""
        samples = torch.full((audio.shape[0],), audio.shape[2], device=audio.device)
        with torch.no_grad():
            return self.tokenizer.model.latents(audio[:, 0], samples)[0].transpose(1, 2)

    def decode(
        self, x: Tensor | np.ndarray | Sequence[Tensor], lengths: Sequence[int] | Tensor | None = None, **options: Any
    ) -> Tensor:
        """(N, B, T) codes -> (B, 1, frame_shift T) waveforms, zeros beyond the length of a row.

        Args:
            x: codes, or a list of (N, T') codes.
            lengths: frames of each row. Without them, PADDING (any negative code) at the end of a row ends it, as
                `encode` leaves it; a row without is full. The decoder is not causal: padding that looks like codes
                would be heard in the frames before it, so give lengths wherever they are known.

        Raises:
            SiTokError: other shapes, codes beyond the codebooks, an empty row, unknown options.
        """
        _refuse(options)
        if isinstance(x, np.ndarray):
            x = torch.from_numpy(x)
        if not isinstance(x, Tensor):
            if not len(x):
                raise SiTokError("decode: no codes were given")
            return self._decode_rows([item.T for item in x], max(item.shape[1] for item in x), x[0].device)
        if x.ndim != 3 or x.shape[0] != self.num_streams:
            raise SiTokError(f"decode: expected codes ({self.num_streams}, B, T), got {tuple(x.shape)}")
        if lengths is None and (x < 0).any():
            lengths = _unpadded(x)
        frames = self._lengths(lengths, x.transpose(0, 1), x.shape[2])
        rows = [codes[:, :length].T for codes, length in zip(x.transpose(0, 1), frames, strict=True)]
        return self._decode_rows(rows, x.shape[2], x.device)

    def _decode_rows(self, rows: Sequence[Tensor], frames: int, device: torch.device) -> Tensor:
        """(T', N) codes each -> (B, 1, frame_shift * frames)."""
        wavs = self.tokenizer.decode([row.cpu() for row in rows], **self._decode)
        output = torch.zeros(len(wavs), 1, self.frame_shift * frames)
        for row, wav in enumerate(wavs):
            output[row, 0, : len(wav)] = torch.from_numpy(wav)
        return output.to(device)

    def _lengths(self, lengths: Sequence[int] | Tensor | None, rows: Tensor, longest: int) -> list[int]:
        """Checked lengths of the rows; full ones, with a warning the first time, where none are given."""
        if lengths is None:
            if len(rows) > 1 and not self._warned:
                self._warned = True
                logging.warning("SiTok codec: no lengths given for a batch of %d: every row counts as full", len(rows))
            return [longest] * len(rows)
        lengths = [int(length) for length in lengths]
        if len(lengths) != len(rows) or not all(1 <= length <= longest for length in lengths):
            raise SiTokError(f"{len(rows)} rows of at most {longest}, but lengths {lengths}: one each, from 1 on")
        return lengths


def _unpadded(codes: Tensor) -> list[int]:
    """Frames before the padding of each row of (N, B, T) codes: a frame with any negative code is padding."""
    real = (codes >= 0).all(dim=0)
    lengths = real.sum(dim=1)
    inside = real != (torch.arange(codes.shape[2], device=codes.device) < lengths[:, None])
    if inside.any():
        raise SiTokError(f"decode: row {int(inside.any(dim=1).nonzero()[0])} has negative codes before its end")
    return lengths.tolist()


def _refuse(options: Mapping[str, Any]) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise SiTokError(f"codec: sitok has no option {', '.join(given)}: its rate is that of the trained model")


def meta_info(model: str | Path) -> dict[str, Any]:
    """What `SiTokCodec.meta_info` says, read from a model's configuration without building the model.

    Raises:
        SiTokError: no such model, or one without codes.
    """
    directory = locate(model)
    config = read_config(directory)
    with torch.device("meta"):
        # The quantizer alone, without memory: any width does.
        quantizer = build_slot("quantizer", config, input_size=8)
        mel = build_slot("feats_extract", config).config
    if not quantizer.num_codebooks:
        raise SiTokError(f"the model in {directory} is continuous (quantizer: identity): it is no codec")
    return {
        "fs": mel.sample_rate,
        "num_streams": int(quantizer.num_codebooks),
        "frame_shift": mel.hop_length * (config.get("model_conf") or {}).get("stacking_factor", 4),
        "code_size_per_stream": [int(size) for size in quantizer.codebook_sizes],
    }


def write_config(path: str | Path, model: str | Path, **codec_conf: Any) -> None:
    """Write a configuration with which ``AudioCoding(train_config=path)`` opens a tokenizer; SiTokError if none can."""
    directory = locate(model).resolve()
    meta_info(directory)
    config = GANCodecTask.get_default_config()
    config |= {"codec": NAME, "codec_conf": {"model": str(directory), **codec_conf}, "model_conf": {}}
    Path(path).write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")


def main(cmd: Sequence[str] | None = None) -> int:
    """Entry point: write the configuration."""
    parser = argparse.ArgumentParser(
        description="Write the YAML with which ESPnet's AudioCoding opens a SiTok model. Whoever reads it imports "
        "sitok_espnet.espnet_codec first."
    )
    parser.add_argument("--model", default=default_model(), required=default_model() is None, help="folder, or a name")
    parser.add_argument("--output", required=True, help="YAML to write")
    args = parser.parse_args(cmd)
    try:
        write_config(args.output, args.model)
    except (SiTokError, OSError) as error:
        print(f"espnet_codec: error: {error}", file=sys.stderr)
        return 2
    return 0


codec_choices.classes[NAME] = SiTokCodec

if __name__ == "__main__":
    sys.exit(main())
