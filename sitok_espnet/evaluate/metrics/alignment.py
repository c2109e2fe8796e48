"""Metrics that compare sample by sample need equally long audio."""

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.metrics.abs_metric import Sample


def require_equal_length(sample: Sample) -> None:
    """Raise SiTokError unless reference and hypothesis have the same number of samples."""
    if len(sample.reference) != len(sample.hypothesis):
        raise SiTokError(
            f"utterance {sample.utterance}: the original has {len(sample.reference)} samples and the system's audio "
            f"{len(sample.hypothesis)}; a metric with reference needs the same number (decode with num_samples)"
        )
