"""DistillMOS: predicted mean opinion score without a reference."""

import contextlib
import io
from importlib.metadata import version

import numpy as np
import torch

from sitok_espnet.audio import resample
from sitok_espnet.evaluate.errors import MetricUnavailable
from sitok_espnet.evaluate.local_models import metric_device
from sitok_espnet.evaluate.metrics.abs_metric import AbsMetric, Measurement, Sample

WINDOW = 122880  # samples, 7.68 s: what the network listens to
HOP = 16000  # at most, between windows


class DistillMOS(AbsMetric):
    """Quality (1 to 5) by a small network distilled from one on XLS-R embeddings (Stahl and Gamper 2025).

    Shorter audio is filled up with zeros, of longer audio it is the mean over evenly spaced windows: the package's own
    rule, here a window at a time, so that memory does not grow with length. Level does not count.
    """

    name = "distillmos"
    title = "DistillMOS"
    unit = "MOS (1-5)"
    higher_is_better = True
    sample_rate = 16000
    decimals = 2

    def __init__(self):
        try:
            from distillmos import ConvTransformerSQAModel
        except ImportError as error:
            raise MetricUnavailable(
                f"distillmos cannot be imported ({error}): pip install --no-deps distillmos xls-r-sqa"
            ) from error
        self._device = metric_device()
        with contextlib.redirect_stdout(io.StringIO()):  # it prints where its weights are
            self._model = ConvTransformerSQAModel().eval().to(self._device)
        self.model = "Distill-MOS (weights of the distillmos wheel)"
        self.version = version("distillmos")

    def measure(self, sample: Sample) -> Measurement:
        """Predicted score of one utterance."""
        speech = np.ascontiguousarray(resample(sample.hypothesis, sample.sample_rate, self.sample_rate), np.float32)
        with torch.no_grad():
            scores = [
                float(self._model(torch.from_numpy(speech[None, start : start + WINDOW]).to(self._device)))
                for start in window_starts(len(speech))
            ]
        return Measurement(float(np.mean(scores)))


def window_starts(samples: int) -> list[int]:
    """First samples of the windows, evenly spaced from the beginning to the end."""
    rest = max(0, samples - WINDOW)
    count = -(-rest // HOP) + 1
    return [int(share * rest) for share in np.linspace(0, 1, count)]
