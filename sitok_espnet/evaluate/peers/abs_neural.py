"""What neural codecs share: weights at hand or random ones, batches of one, bits from the codes (ours)."""

import hashlib
import logging
import math
from abc import abstractmethod
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.peers.abs_peer import FORMULA, AbsPeer, Coded, PeerUnavailable, fit

if TYPE_CHECKING:
    import torch

WEIGHTS = ("*.safetensors", "*.bin")


class AbsNeuralPeer(AbsPeer):
    """A codec of convolutions (and attention) with codebooks.

    Weights are only taken from this machine: ``<directory>/<name of the repository>``, else the local cache of the
    model hub. Without them the published architecture has random weights: it is as fast and codes as many bits, but
    its audio means nothing.

    Class attributes:
        repository: of the published weights on the model hub.
        package: from which the architecture comes.
    Instance attributes:
        config: of the weights, or the published one.
        hop: samples of a frame of the fastest codebook.
    """

    rate_source = FORMULA
    repository: str
    package = "transformers"
    hop: int

    def __init__(self, setting: str, directory: Path | None = None, device: str = "cpu"):
        super().__init__(setting, directory, device)
        try:
            package = f"{self.package} {version(self.package)}"
        except PackageNotFoundError as error:
            raise PeerUnavailable(f"{self.package} is not installed: pip install {self.package}") from error
        self.folder = find_weights(self.repository, directory)
        self.weights = "pretrained" if self.folder else "random"
        self.version = f"{package}, {weights_hash(self.folder) if self.folder else 'random weights'}"
        self.note = f"{self.repository}" if self.folder else self.why_random
        try:
            self.config = self.read_config(self.folder)
        except (OSError, TypeError, ValueError, KeyError) as error:
            raise SiTokError(f"{self.folder}: config.json is not that of {self.repository} ({error})") from error
        self.describe()
        self.inner_rate = self._checked_rate()

    @property
    def why_random(self) -> str:
        """Why there is speed but no quality, and what to do."""
        name = self.repository.rpartition("/")[2]
        return (
            f"random weights: those of {self.repository} are not on this machine: put its files into "
            f"DIR/{name} and give DIR as --peer_dir, or fetch it into the hub's cache (hf download {self.repository})"
        )

    @property
    @abstractmethod
    def sample_rate_of_config(self) -> int:
        """Hz of the signal that the configuration is for."""

    def _checked_rate(self) -> int:
        if self.sample_rate_of_config != 24000:
            raise SiTokError(f"{self.folder}: a model for {self.sample_rate_of_config} Hz, expected one for 24000 Hz")
        return self.sample_rate_of_config

    @abstractmethod
    def read_config(self, folder: Path | None) -> object:
        """The configuration in a folder, or without one the published one."""

    @abstractmethod
    def describe(self) -> None:
        """Set hop, frame_rate, codebook_sizes and nominal from the configuration and the setting."""

    @abstractmethod
    def build(self) -> "torch.nn.Module":
        """The model of the configuration with random weights."""

    @abstractmethod
    def load(self) -> "torch.nn.Module":
        """The model with the weights of the folder; every weight must be there."""

    @abstractmethod
    def encode_tensor(self, wav: "torch.Tensor") -> "list[torch.Tensor]":
        """(1, 1, S) -> codes, one integer tensor a codebook or group of equally fast ones of equal size."""

    @abstractmethod
    def decode_tensor(self, codes: "list[torch.Tensor]") -> "torch.Tensor":
        """Codes -> (1, 1, S') or (1, S')."""

    @cached_property
    def model(self) -> "torch.nn.Module":
        """Opened when it is first needed."""
        import torch

        if self.folder:
            try:
                model = self.load()
            except SiTokError:
                raise
            except Exception as error:  # every format of weights raises kinds of its own for a damaged file
                reason = str(error).partition("\n")[0]
                raise SiTokError(f"{self.folder}: not the weights of {self.repository} ({reason})") from error
        else:
            logging.warning("peer %s: %s", self.codec, self.why_random)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                model = self.build()
        return model.to(self.device).eval()

    def encode(self, wav: np.ndarray) -> Coded:
        """Payload: what ``encode_tensor`` gives, on the CPU. The signal is continued with zeros to whole frames."""
        import torch

        padded = torch.from_numpy(fit(wav, -(-len(wav) // self.hop) * self.hop))
        with torch.inference_mode():
            codes = [part.cpu() for part in self.encode_tensor(padded[None, None].to(self.device))]
        size = math.log2(self.codebook_sizes[0])  # of all: none of these codecs mixes sizes
        return Coded(codes, size * sum(part.numel() for part in codes))

    def decode(self, payload: "list[torch.Tensor]", samples: int) -> np.ndarray:
        import torch

        # SNAC's decoder adds noise: with a seed of its own, an utterance does not depend on those before it.
        devices = [torch.device(self.device)] if str(self.device).startswith("cuda") else []
        with torch.inference_mode(), torch.random.fork_rng(devices=devices):
            torch.manual_seed(0)
            wav = self.decode_tensor([part.to(self.device) for part in payload])
        return fit(wav.float().flatten().cpu().numpy(), samples)

    @classmethod
    def whole_number(cls, setting: str, most: int) -> int:
        """A setting that is a number of codebooks."""
        if not (setting.isascii() and setting.isdigit() and 1 <= int(setting) <= most):
            raise cls.refuse(setting, f"expected the number of codebooks, 1 to {most}")
        return int(setting)


def find_weights(repository: str, directory: Path | None) -> Path | None:
    """Where the files of a repository lie on this machine, or None.

    Raises:
        SiTokError: a folder of that name without configuration or weights.
    """
    if directory is not None and (folder := directory / repository.rpartition("/")[2]).is_dir():
        if not _complete(folder):
            raise SiTokError(f"{folder}: expected config.json and {' or '.join(WEIGHTS)} of {repository}")
        return folder
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError
    except ImportError:
        return None
    try:
        folder = Path(snapshot_download(repository, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    return folder if _complete(folder) else None


def _weight_files(folder: Path) -> list[Path]:
    return sorted(path for pattern in WEIGHTS for path in folder.glob(pattern))


def _complete(folder: Path) -> bool:
    return (folder / "config.json").is_file() and bool(_weight_files(folder))


def weights_hash(folder: Path) -> str:
    """ "weights " and 16 hex digits of the weights' files."""
    digest = hashlib.sha256()
    for path in _weight_files(folder):
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return f"weights {digest.hexdigest()[:16]}"


def require_all(missing: Sequence[str], folder: Path) -> None:
    """Refuse weights that leave parts of the model at random values."""
    if missing:
        some = ", ".join(sorted(missing)[:3])
        raise SiTokError(f"{folder}: {len(missing)} weights are missing ({some} ...): not of this model, or damaged")
