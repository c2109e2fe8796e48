"""DNSMOS: predicted mean opinion score without a reference."""

from importlib.metadata import version
from pathlib import Path

import numpy as np

from sitok_espnet.audio import resample
from sitok_espnet.evaluate.errors import MetricUnavailable
from sitok_espnet.evaluate.metrics.abs_metric import AbsMetric, Measurement, Sample


class _Silent:
    """Stands in for the P.808 network, whose score is not used and costs a fifth of the time."""

    def run(self, *_):
        return [[[0.0]]]


class DNSMOSOverall(AbsMetric):
    """Overall quality (OVRL, 1 to 5) of DNSMOS P.835 through speechmos, mean over its 9.01 s windows."""

    name = "dnsmos"
    title = "DNSMOS"
    unit = "MOS (OVRL, 1-5)"
    higher_is_better = True
    sample_rate = 16000
    decimals = 2

    def __init__(self):
        try:
            import onnxruntime
            from speechmos import dnsmos
        except ImportError as error:
            raise MetricUnavailable(f"speechmos cannot be imported ({error}): pip install speechmos") from error
        self.model = "DNSMOS P.835 sig_bak_ovr.onnx (weights of the speechmos wheel)"
        self.version = version("speechmos")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # scoring runs one process per core
        weights = Path(dnsmos.__file__).parent / "dnsmos_models" / "sig_bak_ovr.onnx"

        class Scorer(dnsmos.DNSMOS):
            """speechmos's scorer, window by window as it does it, without the P.808 network."""

            def __init__(self):
                self.onnx_sess = onnxruntime.InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
                self.p808_onnx_sess = _Silent()

            def audio_melspec(self, audio, **_):
                return np.zeros((1, 1))

        self._scorer = Scorer()

    def measure(self, sample: Sample) -> Measurement:
        """OVRL of one utterance; audio beyond [-1, 1] is clipped, and the notice says so."""
        speech = resample(sample.hypothesis, sample.sample_rate, self.sample_rate)
        outside = bool((np.abs(speech) > 1.0).any())
        score = self._scorer(np.clip(speech, -1.0, 1.0), self.sample_rate, False)
        return Measurement(float(score["ovrl_mos"]), notice="clipped to [-1, 1]" if outside else "")
