"""Generated sentences that the real offline recogniser understands: few words, far apart in sound, in a clear voice."""

from importlib.util import find_spec

import numpy as np

from sitok_espnet.evaluate.metrics import METRICS, MetricContext

WORDS = "mama sierra zulu".split()
VOICE, OTHER_VOICE = 3, 1
# PESQ is compiled on installation, DistillMOS installed by itself: they may be missing.
INSTALLED = tuple(name for name in METRICS if name not in ("pesq", "distillmos") or find_spec(name))


def sentences(seed: int, count: int) -> list[str]:
    """Four words each."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, 4)) for _ in range(count)]


def heard_context(texts: list[str]) -> MetricContext:
    """A recogniser that has learned from other sentences of the same words."""
    others = [sentence for sentence in sentences(0, 60) if sentence not in texts]
    return MetricContext(tuple(others + WORDS), tuple(texts))
