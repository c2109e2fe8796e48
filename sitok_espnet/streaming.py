"""Speech to tokens while it is being spoken: the same tokens as for the whole utterance (DESIGN section 6, promise 2).

Shapes: S samples so far, k mel frames a token, t new tokens, N codebooks.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import torch

from sitok_espnet.audio import check_sample_rate, check_waveform
from sitok_espnet.errors import SiTokError
from sitok_espnet.nn.stacking import stack_frames
from sitok_espnet.sitok.espnet_model import SiTokModel

MAX_SECONDS_WITHOUT_WINDOW = 600.0
TOKENS_AT_ONCE = 256  # of a long chunk: bounds the memory of a push


class EncodeStream:
    """Encodes one utterance that arrives in chunks of any sizes, from one sample up.

    Token t is returned as soon as its last sample is there: it needs the samples up to ``hop k (t + 1) + pad``, where
    pad = (win_length - hop_length) / 2 is half of what analysis windows overlap (DESIGN section 8, Mel). ``flush`` ends
    the utterance with the zeros that the offline encoder appends. The memory of a stream is bounded where the encoder
    has an attention window; else it grows, and a stream ends after MAX_SECONDS_WITHOUT_WINDOW.
    """

    def __init__(self, model: SiTokModel, computing: Callable[[], AbstractContextManager]):
        """Use ``SiTok.stream()``. computing: a context for model calls (inference mode, exact or lower precision)."""
        self._model = model
        self._computing = computing
        self._config = model.feats_extract.config
        self._device = next(model.parameters()).device
        self._state = model.encoder.initial_state()
        # Whole frames of history before the next token, at least the padding; before the first sample there is silence.
        self._history_frames = -(-self._config.pad // self._config.hop_length)
        self._audio = np.zeros(self._history_frames * self._config.hop_length, dtype=np.float32)
        self._samples = 0
        self._tokens = 0
        self._closed = False

    @property
    def latency_ms(self) -> float:
        """From the first sample of a token until it can be computed: its length and the overlap of the last window.

        80 + 30 = 110 ms at k = 4; computing time comes on top.
        """
        return 1000.0 * (self._model.samples_per_token + self._config.pad) / self._config.sample_rate

    def push(self, chunk, sample_rate: int) -> np.ndarray:
        """The next samples of the utterance.

        Args:
            chunk: 1-D float array (numpy or torch) within [-1, 1]; may be empty.
            sample_rate: its rate in Hz; must be the model's.

        Returns:
            int64 (t, N): the tokens that are now complete, t >= 0.

        Raises:
            SiTokError: a closed stream, another rate, several channels, integer samples, NaN or infinity; more than
                MAX_SECONDS_WITHOUT_WINDOW without an attention window. Nothing of the chunk is used then.
        """
        self._require_open()
        check_sample_rate(sample_rate, self._config.sample_rate)
        if np.shape(chunk) != (0,):
            chunk = check_waveform(chunk, f"chunk at sample {self._samples}")
            self._require_room(len(chunk))
            self._samples += len(chunk)
            self._audio = np.concatenate((self._audio, chunk))
        ready = (self._samples - self._config.pad) // self._model.samples_per_token
        return self._encode_until(max(ready, 0))

    def flush(self) -> np.ndarray:
        """The utterance is over: the remaining tokens, int64 (t, N); the stream is closed.

        All tokens together are ``ceil(S / (hop k))``; none if there was no sample.
        """
        self._require_open()
        self._closed = True
        total = -(-self._samples // self._model.samples_per_token)
        missing = total * self._model.samples_per_token + self._config.pad - self._samples
        self._audio = np.pad(self._audio, (0, missing))
        codes = self._encode_until(total)
        self._state = None
        return codes

    def encode_whole(self, wav, sample_rate: int) -> np.ndarray:
        """``push`` and ``flush`` of one waveform: (S,) -> int64 (T, N), in bounded memory."""
        return np.concatenate((self.push(wav, sample_rate), self.flush()))

    def _require_open(self) -> None:
        if self._closed:
            raise SiTokError("this stream is closed (flush was called): open another one with SiTok.stream()")

    def _require_room(self, more: int) -> None:
        seconds = (self._samples + more) / self._config.sample_rate
        if self._model.encoder.attention_window is None and seconds > MAX_SECONDS_WITHOUT_WINDOW:
            raise SiTokError(
                f"the stream would reach {seconds:.1f} s; this model's encoder remembers everything (encoder_conf "
                f"attention_window: null), so a stream ends at {MAX_SECONDS_WITHOUT_WINDOW:.0f} s: flush it and open "
                "another one, or train a model with encoder_conf attention_window: W for speech of any length"
            )

    def _encode_until(self, total: int) -> np.ndarray:
        """Tokens up to ``total``, for which the samples are there."""
        parts = [np.zeros((0, self._model.quantizer.num_codebooks), dtype=np.int64)]
        while self._tokens < total:
            parts.append(self._encode_next(min(TOKENS_AT_ONCE, total - self._tokens)))
        if len(parts) > 1:
            self._audio = self._audio.copy()  # so far a view, which keeps the whole chunk in memory
        return np.concatenate(parts)

    def _encode_next(self, count: int) -> np.ndarray:
        """The next ``count`` tokens (count, N); drops the audio that no later token needs."""
        model, history = self._model, self._history_frames
        span = count * model.samples_per_token
        needed = history * self._config.hop_length + span + self._config.pad
        segment = torch.from_numpy(self._audio[:needed])[None].to(self._device)
        with self._computing():
            feats, _ = model.feats_extract(segment, torch.tensor([needed], device=self._device))
            # The first frames repeat the history, the last reach into the extractor's own padding.
            feats = feats[:, history : history + count * model.stacking_factor]
            if model.normalize is not None:
                feats, _ = model.normalize(feats, torch.tensor([feats.size(1)], device=self._device))
            latents, state = model.encoder.step(stack_frames(feats, model.stacking_factor), self._state)
            codes = model.quantizer.encode(latents)[0].cpu().numpy().astype(np.int64)
        self._state = state
        self._audio = self._audio[span:]
        self._tokens += count
        return codes
