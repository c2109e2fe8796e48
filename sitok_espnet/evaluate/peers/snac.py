"""SNAC (Siuzdak et al., arXiv 2410.14411), its 24 kHz model: three codebooks at about 12, 23 and 47 Hz."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from sitok_espnet.evaluate.peers.abs_neural import AbsNeuralPeer, require_all

if TYPE_CHECKING:
    import torch

SETTING = "24khz"


class SNAC(AbsNeuralPeer):
    """``snac:24khz``, the only setting: the number of codebooks is fixed."""

    codec = "snac"
    title = "SNAC"
    examples = (SETTING,)
    repository = "hubertsiuzdak/snac_24khz"
    package = "snac"
    # The wheel has no configurations; these give the published 19.8 M parameters and 0.98 kbit/s.
    published = {
        "sampling_rate": 24000,
        "encoder_dim": 48,
        "encoder_rates": [2, 4, 8, 8],
        "decoder_dim": 1024,
        "decoder_rates": [8, 8, 4, 2],
        "attn_window_size": None,
        "codebook_size": 4096,
        "codebook_dim": 8,
        "vq_strides": [4, 2, 1],
        "noise": True,
        "depthwise": True,
    }

    @classmethod
    def key_of(cls, setting: str) -> str:
        if setting != SETTING:
            raise cls.refuse(setting, f"expected {SETTING}")
        return setting

    @classmethod
    def label_of(cls, key: str) -> str:
        return "24 kHz"

    @property
    def sample_rate_of_config(self) -> int:
        """Hz."""
        return self.config["sampling_rate"]

    def read_config(self, folder: Path | None) -> dict:
        """Arguments of the package's class."""
        if folder is None:
            return dict(self.published)
        return json.loads((folder / "config.json").read_text(encoding="utf-8"))

    def describe(self) -> None:
        strides = self.config["vq_strides"]
        self.hop = math.prod(self.config["encoder_rates"])
        self.frame_rate = self.config["sampling_rate"] / self.hop
        self.codebook_sizes = (self.config["codebook_size"],) * len(strides)
        bits = math.log2(self.config["codebook_size"])
        self.nominal = sum(self.frame_rate / stride * bits for stride in strides)

    def build(self) -> "torch.nn.Module":
        """Random weights, as the package initialises them."""
        import snac

        return snac.SNAC(**self.config)

    def load(self) -> "torch.nn.Module":
        """Weights only: nothing else in the file is executed."""
        import torch

        model = self.build()
        files = sorted(self.folder.glob("*.safetensors"))
        if files:
            from safetensors.torch import load_file

            state = load_file(files[0])
        else:
            file = next(iter(sorted(self.folder.glob("*.bin"))))
            state = torch.load(file, map_location="cpu", weights_only=True)
        require_all(sorted(set(model.state_dict()) - set(state)), self.folder)
        model.load_state_dict(state)
        return model

    def encode_tensor(self, wav: "torch.Tensor") -> "list[torch.Tensor]":
        """One tensor (1, T / stride) a codebook; the package fills the signal up to whole frames of the slowest."""
        return self.model.encode(wav)

    def decode_tensor(self, codes: "list[torch.Tensor]") -> "torch.Tensor":
        return self.model.decode(codes)
