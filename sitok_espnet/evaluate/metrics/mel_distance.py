"""Mel distance: mean absolute difference of two log-mel spectrograms."""

import numpy as np
import torch

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.memory import remember_last
from sitok_espnet.evaluate.metrics.abs_metric import AbsMetric, Measurement, Sample
from sitok_espnet.evaluate.metrics.alignment import require_equal_length
from sitok_espnet.sitok.mel.config import MelConfig
from sitok_espnet.sitok.mel.log_mel import LogMel


class MelDistance(AbsMetric):
    """L1 between natural-log mel spectrograms, both analysed from the waveform, over valid frames and all bins.

    Always the paper's mel (24 kHz, 128 bins, 50 frames/s), whatever mel a model uses, so that models compare.
    Frames are pooled over utterances: long utterances weigh more. Bins that a band-limited corpus leaves at the floor
    count too: noise that a system puts there costs a lot.
    """

    name = "mel"
    title = "mel distance"
    unit = "natural-log units per bin"
    higher_is_better = False
    sample_rate = 24000
    intrusive = True
    decimals = 3

    def __init__(self):
        config = MelConfig()
        self.model = f"log-mel {config.hash()} (128 bins, hop 480)"
        self.version = "1"
        self._log_mel = LogMel()
        self._analyse_reference = remember_last(self._analyse)

    def _analyse(self, speech: np.ndarray) -> torch.Tensor:
        """(S,) samples at 24 kHz -> (ceil(S / 480), 128)."""
        tensor = torch.from_numpy(np.ascontiguousarray(speech, dtype=np.float32))[None]
        with torch.no_grad():
            return self._log_mel(tensor, torch.tensor([tensor.shape[1]]))[0][0]

    def measure(self, sample: Sample) -> Measurement:
        """Sum over frames of the mean absolute difference, and the number of frames."""
        require_equal_length(sample)
        if sample.sample_rate != self.sample_rate:
            raise SiTokError(
                f"utterance {sample.utterance}: the mel distance needs {self.sample_rate} Hz audio, not "
                f"{sample.sample_rate} Hz (a resampled copy would lack the bins above its own limit)"
            )
        difference = self._analyse(sample.hypothesis) - self._analyse_reference(sample.reference)
        per_frame = difference.abs().double().mean(dim=1)
        return Measurement(float(per_frame.sum()), float(len(per_frame)))
