"""UTMOS: predicted mean opinion score without a reference."""

import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import numpy as np
import torch

from sitok_espnet.audio import resample
from sitok_espnet.evaluate.errors import MetricUnavailable, NotMeasurable
from sitok_espnet.evaluate.local_models import SHORTEST, hash_weights, metric_device, shown, without_path
from sitok_espnet.evaluate.metrics.abs_metric import AbsMetric, Measurement, Sample

VARIABLE = "SITOK_UTMOS"
ENTRY = "utmos22_strong"
REMEDY = (
    "git clone --branch v1.2.0 https://github.com/tarepan/SpeechMOS DIR and "
    f"python -c \"import torch; torch.hub.load('DIR', '{ENTRY}', source='local')\" on a machine with network "
    f"(the weights go to checkpoints/ in torch.hub.get_dir(): copy them too), then export {VARIABLE}=DIR"
)


def _refuse(url: str, *_: object, **__: object) -> None:
    raise MetricUnavailable(f"the weights of UTMOS are not on this machine ({url}): {REMEDY}")


@contextmanager
def _modules_of(folder: Path) -> Iterator[None]:
    """While its hubconf is run, modules of its names are its own: its package is called as DNSMOS's, ``speechmos``."""
    names = {path.stem for path in folder.iterdir() if path.is_dir() or path.suffix == ".py"}
    path, others = list(sys.path), _take_modules(names)
    try:
        yield
    finally:
        _take_modules(names)
        sys.modules.update(others)
        sys.path[:] = path


def _take_modules(names: set[str]) -> dict[str, ModuleType]:
    """Remove the imported modules of these top-level names, and return them."""
    return {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] in names}


class UTMOS(AbsMetric):
    """UTMOS22 strong (Saeki et al. 2022) from a local checkout of a torch.hub repository, mean of the utterance.

    Contract with the directory in SITOK_UTMOS: its ``hubconf.py`` has ``utmos22_strong()``, which returns a module
    called as ``module(wave (1, S) float32, rate) -> (1,)``; its weights lie in torch.hub's folder or beside it. That is
    tarepan/SpeechMOS, the usual port of the authors' system without fairseq. The file is run: use what you trust.
    """

    name = "utmos"
    title = "UTMOS"
    unit = "MOS (1-5)"
    higher_is_better = True
    sample_rate = 16000
    decimals = 2

    def __init__(self):
        folder = os.environ.get(VARIABLE, "")
        if not folder:
            raise MetricUnavailable(f"UTMOS needs a local checkout: {REMEDY}")
        if not Path(folder, "hubconf.py").is_file():
            raise MetricUnavailable(f"{VARIABLE}={shown(folder)}: no hubconf.py there: {REMEDY}")
        self._device = metric_device()
        try:
            with _modules_of(Path(folder)), patch("torch.hub.download_url_to_file", _refuse):
                scorer = torch.hub.load(folder, ENTRY, source="local")
        except MetricUnavailable:
            raise
        except Exception as error:  # whatever a foreign file raises
            message = without_path(repr(error), folder)
            raise MetricUnavailable(f"{VARIABLE}={shown(folder)} cannot be loaded ({message}): {REMEDY}") from error
        self._scorer = scorer.eval().to(self._device)
        self.model = f"{ENTRY} of {Path(folder).resolve().name} (torch.hub checkout)"
        self.version = f"weights {hash_weights(scorer.state_dict())}"

    def measure(self, sample: Sample) -> Measurement:
        """Predicted score of one utterance."""
        if len(sample.hypothesis) * self.sample_rate < SHORTEST * sample.sample_rate:
            raise NotMeasurable("less than a frame of audio")
        speech = np.ascontiguousarray(resample(sample.hypothesis, sample.sample_rate, self.sample_rate))
        with torch.no_grad():
            score = float(self._scorer(torch.from_numpy(speech)[None].to(self._device), self.sample_rate))
        if not math.isfinite(score):
            raise NotMeasurable("UTMOS gives no finite score")
        return Measurement(score)
