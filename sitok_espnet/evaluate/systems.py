"""The rows of the score table: what each system does with a test utterance (DESIGN section 4, stage 8; ours)."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.first_chunk import time_first
from sitok_espnet.inference import SiTok
from sitok_espnet.inputs import AudioInput
from sitok_espnet.sitok.decoder.abs_decoder import SamplingConfig
from sitok_espnet.vocoder.choices import build_vocoder

GROUP_SIZE = 4  # utterances of similar length that swap tokens with each other


class SystemUnavailable(SiTokError):
    """The system cannot be made from this model or data; the message is the reason that the table shows."""


def read_recording(tokenizer: SiTok, item: AudioInput) -> np.ndarray:
    """Samples (S,) at the tokenizer's rate.

    Raises:
        SiTokError: another sampling rate (stage 2 makes the right one).
    """
    wav, rate = item.read()
    if rate != tokenizer.sample_rate:
        raise SiTokError(
            f"utterance {item.utt}: {item.location} has {rate} Hz, the tokenizer works at {tokenizer.sample_rate} Hz: "
            "give the data directory that stage 2 made (dump/raw/...)"
        )
    return wav


@dataclass
class Timing:
    """Wall-clock seconds of one utterance, alone in its batch; the last two: see sitok_espnet.evaluate.first_chunk."""

    audio: float
    encode: float
    decode: float
    vocoder: float
    first_token: float | None = None
    first_audio: float | None = None


@dataclass
class Workshop:
    """What the systems work with.

    Attributes:
        inputs: the test utterances.
        tokenizer: the trained tokenizer.
        make_untrained: opens the same model with its initial weights.
        steps, cfg_scale, seed, temperature: asked of decoding, None for the tokenizer's own; cfg_scale is used by
            ``reconstruction_cfg`` alone, steps and temperature where the decoder iterates.
        timings: filled by ``reconstruction``: utterance -> Timing.
    """

    inputs: Sequence[AudioInput]
    tokenizer: SiTok
    make_untrained: Callable[[], SiTok]
    steps: int | None = None
    cfg_scale: float = 1.0
    seed: int = 0
    temperature: float | None = None
    timings: dict[str, Timing] = field(default_factory=dict)
    _codes: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def sampling(self) -> SamplingConfig:
        """How unguided rows are decoded: no number is left open, or all are where the decoder does not iterate."""
        if not self.tokenizer.model.decoder.iterative:
            return self.tokenizer.sampling(seed=self.seed)
        return self.tokenizer.sampling(self.steps, 0.0, self.seed, self.temperature)

    def read(self, item: AudioInput) -> np.ndarray:
        """Samples (S,), see :func:`read_recording`."""
        return read_recording(self.tokenizer, item)

    def codes(self, item: AudioInput) -> np.ndarray:
        """Tokens (T, N) of an utterance, or latents (T, D) of a model without codes; remembered."""
        if item.utt not in self._codes:
            self._codes[item.utt] = self.tokenizer.analyze([self.read(item)], self.tokenizer.sample_rate)[0]
        return self._codes[item.utt]


def original(shop: Workshop) -> Iterator[np.ndarray]:
    """The recording as it is."""
    for item in shop.inputs:
        yield shop.read(item)


def copy_synthesis(shop: Workshop) -> Iterator[np.ndarray]:
    """Mel of the recording -> vocoder: the ceiling of everything that goes through this mel and vocoder."""
    for item in shop.inputs:
        wav = shop.read(item)
        yield shop.tokenizer.vocode([shop.tokenizer.log_mel(wav, shop.tokenizer.sample_rate)], [len(wav)])[0]


def copy_griffin_lim(shop: Workshop) -> Iterator[np.ndarray]:
    """The same with Griffin-Lim: what a trained vocoder must beat. By default only beside another vocoder."""
    vocoder = build_vocoder("griffin_lim", None, shop.tokenizer.mel_config)
    for item in shop.inputs:
        wav = shop.read(item)
        mel = torch.from_numpy(shop.tokenizer.log_mel(wav, shop.tokenizer.sample_rate))
        yield vocoder(mel[None])[0, : len(wav)].numpy()


def reconstruction(shop: Workshop) -> Iterator[np.ndarray]:
    """Encode, decode without guidance, vocoder; one utterance at a time, timed after one warm-up utterance."""
    _timed_reconstruction(shop, shop.inputs[0])
    for item in shop.inputs:
        yield _timed_reconstruction(shop, item)


def _timed_reconstruction(shop: Workshop, item: AudioInput) -> np.ndarray:
    wav = shop.read(item)
    start = time.perf_counter()
    codes = shop.tokenizer.analyze([wav], shop.tokenizer.sample_rate)
    encoded = time.perf_counter()
    mels = shop.tokenizer.decode_mel(codes, seed=shop.seed, **vars(shop.sampling))
    decoded = time.perf_counter()
    output = shop.tokenizer.vocode(mels, [len(wav)])[0]
    done = time.perf_counter()
    seconds = len(wav) / shop.tokenizer.sample_rate
    first = time_first(shop.tokenizer, wav, shop.sampling, shop.seed)
    shop.timings[item.utt] = Timing(seconds, encoded - start, decoded - encoded, done - decoded, **first)
    return output


def reconstruction_cfg(shop: Workshop) -> Iterator[np.ndarray]:
    """Encode, decode with token guidance of weight ``cfg_scale``, vocoder."""
    if not shop.tokenizer.model.decoder.iterative:
        raise SystemUnavailable("a decoder that does not iterate has no guidance")
    for item in shop.inputs:
        yield _decode(shop, shop.codes(item), len(shop.read(item)), shop.cfg_scale)


def untrained(shop: Workshop) -> Iterator[np.ndarray]:
    """The same model with its initial weights (and the training statistics of the mel): the floor."""
    tokenizer = shop.make_untrained()
    for item in shop.inputs:
        wav = shop.read(item)
        codes = tokenizer.analyze([wav], tokenizer.sample_rate)
        yield tokenizer.decode(codes, seed=shop.seed, num_samples=[len(wav)], **vars(shop.sampling))[0]


def mean_mel(shop: Workshop) -> Iterator[np.ndarray]:
    """Control: the training mean of the mel, from the normalisation's statistics, at every frame -> vocoder."""
    normalize = shop.tokenizer.model.normalize
    if normalize is None:
        raise SystemUnavailable("the model has no normalisation, so no training mean of the mel (normalize: null)")
    mean = normalize.mean.detach().cpu().numpy().astype(np.float32)
    hop = shop.tokenizer.mel_config.hop_length
    for item in shop.inputs:
        samples = len(shop.read(item))
        yield shop.tokenizer.vocode([np.tile(mean, (-(-samples // hop), 1))], [samples])[0]


def other_tokens(shop: Workshop) -> Iterator[np.ndarray]:
    """Control: decode the tokens of another utterance of similar length, cut or repeated to the needed length."""
    lengths = [len(shop.codes(item)) for item in shop.inputs]
    others = assign_others(lengths, shop.seed)
    for index, item in enumerate(shop.inputs):
        codes = fit_length(shop.codes(shop.inputs[others[index]]), lengths[index])
        yield _decode(shop, codes, len(shop.read(item)), 0.0)


def _decode(shop: Workshop, codes: np.ndarray, samples: int, cfg_scale: float) -> np.ndarray:
    options = {**vars(shop.sampling), "cfg_scale": cfg_scale}
    return shop.tokenizer.decode([codes], seed=shop.seed, num_samples=[samples], **options)[0]


def assign_others(lengths: Sequence[int], seed: int) -> list[int]:
    """For every utterance another one of similar length, each used once.

    Sorted by length, cut into groups of GROUP_SIZE (a lone last one joins the group before it), shuffled by the seed
    within the group, then everybody takes the next one's tokens, the last the first one's.

    Raises:
        SystemUnavailable: fewer than two utterances.
    """
    if len(lengths) < 2:
        raise SystemUnavailable("tokens of another utterance need at least two utterances")
    order = sorted(range(len(lengths)), key=lambda index: (lengths[index], index))
    groups = [order[start : start + GROUP_SIZE] for start in range(0, len(order), GROUP_SIZE)]
    if len(groups[-1]) == 1:
        groups[-2:] = [groups[-2] + groups[-1]]
    generator = np.random.Generator(np.random.PCG64(seed))
    others = [0] * len(lengths)
    for group in groups:
        shuffled = generator.permutation(group).tolist()
        for here, there in zip(shuffled, shuffled[1:] + shuffled[:1], strict=True):
            others[here] = there
    return others


def fit_length(codes: np.ndarray, length: int) -> np.ndarray:
    """Tokens (T, N) -> (length, N): cut at the end, or repeated from the beginning."""
    return codes[np.arange(length) % len(codes)]


# In the order of the table's rows.
SYSTEMS: dict[str, Callable[[Workshop], Iterator[np.ndarray]]] = {
    function.__name__: function
    for function in (
        original,
        copy_synthesis,
        copy_griffin_lim,
        reconstruction,
        reconstruction_cfg,
        untrained,
        mean_mel,
        other_tokens,
    )
}


def default_systems(vocoder: str) -> list[str]:
    """All rows; copy_griffin_lim only where it differs from copy_synthesis."""
    return [name for name in SYSTEMS if name != "copy_griffin_lim" or vocoder != "griffin_lim"]
