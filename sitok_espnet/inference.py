"""Class SiTok: waveforms to tokens and back, in batches that do not change the result."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from sitok_espnet.audio import check_sample_rate, check_waveform
from sitok_espnet.checkpoint import LoadedModel, load_model
from sitok_espnet.chunked import decode_in_chunks
from sitok_espnet.computing import check_device, exact_inference, make_batches
from sitok_espnet.errors import SiTokError
from sitok_espnet.pretrained import locate
from sitok_espnet.prompts import Prompt, check_prompts, pad_prompts
from sitok_espnet.sampling import packed_sampling, sampling_options, with_defaults
from sitok_espnet.sitok.decoder.abs_decoder import SamplingConfig
from sitok_espnet.sitok.mel.config import MelConfig
from sitok_espnet.sitok.randomness import utterance_noise
from sitok_espnet.streaming import EncodeStream
from sitok_espnet.tokens import check_codes
from sitok_espnet.vocoder.abs_vocoder import AbsVocoder
from sitok_espnet.vocoder.choices import build_vocoder, choose_vocoder

DECODE_BATCH_SECONDS = 120.0
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class SiTok:
    """A trained tokenizer (DESIGN section 5).

    Shapes: S samples, T = ceil(S / (hop k)) tokens, N codebooks, F = ceil(S / hop) mel frames, M mel bins.
    Results do not depend on what else is in a call, nor on the order.
    """

    def __init__(self, loaded: LoadedModel, dtype: torch.dtype, vocoder: AbsVocoder) -> None:
        """Use `from_pretrained`. loaded: the model in evaluation mode on its device."""
        if dtype not in DTYPES.values():
            raise SiTokError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype}")
        self.model = loaded.model
        self.config = loaded.config
        self.directory = loaded.directory
        self.model_hash = loaded.model_hash
        self.codes_hash = loaded.codes_hash
        self.dtype = dtype
        self.mel_config: MelConfig = self.model.feats_extract.config
        self.device = next(self.model.parameters()).device
        self.vocoder = vocoder.to(self.device).eval()
        self._packed = packed_sampling(self.config)

    @classmethod
    def from_pretrained(
        cls,
        directory: Path | str,
        checkpoint: str | None = None,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        vocoder: str | None = None,
        vocoder_conf: dict | None = None,
    ) -> "SiTok":
        """Open a packed or experiment directory, or a model that came with the package.

        Args:
            directory: what stage 9 packed, or exp/sitok_<tag>, or a name of `sitok_espnet.pretrained`.
            checkpoint: file name in the directory, or "untrained"; None is the packed or best one.
            device: a torch device.
            dtype: float32, or bfloat16 for the transformer layers (quantization stays in float32; some tokens differ).
            vocoder, vocoder_conf: name and options of the vocoder; None is the packed one, or griffin_lim.

        Raises:
            SiTokError: nothing to load there, a checkpoint of another model or mel, an unusable device or option.
        """
        check_device(device)
        directory = locate(directory)
        loaded = load_model(directory, checkpoint=checkpoint, device=device)
        vocoder, vocoder_conf = choose_vocoder(directory, vocoder, vocoder_conf)
        return cls(loaded, dtype, build_vocoder(vocoder, vocoder_conf, loaded.model.feats_extract.config))

    @property
    def sample_rate(self) -> int:
        """Hz, in and out."""
        return self.mel_config.sample_rate

    @property
    def stacking_factor(self) -> int:
        """Mel frames a token, k."""
        return self.model.stacking_factor

    @property
    def samples_per_token(self) -> int:
        """hop * k samples."""
        return self.mel_config.hop_length * self.stacking_factor

    @property
    def frame_rate(self) -> Fraction:
        """Tokens (of N codes each) a second, exact: 25/2 for the paper's k = 4."""
        return Fraction(self.sample_rate, self.samples_per_token)

    @property
    def num_codebooks(self) -> int:
        """N; 0 for a continuous model (quantizer: identity)."""
        return int(self.model.quantizer.num_codebooks or 0)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Entries of each codebook."""
        return tuple(self.model.quantizer.codebook_sizes or ())

    @property
    def bits_per_second(self) -> float:
        """Frame rate times the sum of log2 of the codebook sizes; SiTokError for a continuous model."""
        self._require_codes("have a bit rate")
        return float(self.frame_rate) * sum(math.log2(size) for size in self.codebook_sizes)

    def num_tokens(self, num_samples: int) -> int:
        """ceil(S / (hop k))."""
        return -(-num_samples // self.samples_per_token)

    # ---------------------------------------------------------------- speech to tokens

    def encode(self, wavs: Sequence, sample_rate: int, batch_seconds: float = 120.0) -> list[np.ndarray]:
        """Waveforms to tokens.

        Args:
            wavs: 1-D float arrays (numpy or torch) of any lengths >= 1, within [-1, 1].
            sample_rate: theirs, in Hz; must be the model's.
            batch_seconds: bound of a batch, padding included. A longer waveform is a batch of its own, and streamed, in
                bounded memory, where the encoder has an attention window.

        Returns:
            int64 (T, N) arrays, in the order of `wavs`.

        Raises:
            SiTokError: wrong rate, no samples, NaN, several channels; a model without codes.
        """
        self._require_codes("encode to tokens")
        return self.analyze(wavs, sample_rate, batch_seconds)

    def analyze(self, wavs: Sequence, sample_rate: int, batch_seconds: float = 120.0) -> list[np.ndarray]:
        """What `decode` reads of waveforms: tokens as `encode` gives them, or the float32 (T, D) latents of a model
        without codes (quantizer: identity), which can so be resynthesized and scored. Arguments as in encode."""
        checked = self._check_wavs(wavs, sample_rate)
        if not batch_seconds > 0:
            raise SiTokError(f"batch_seconds must be positive, got {batch_seconds}")
        results: list[np.ndarray] = [np.empty(0)] * len(checked)
        budget = batch_seconds * self.sample_rate
        bounded = self.num_codebooks > 0 and self.model.encoder.attention_window is not None
        with self._computing():
            for batch in make_batches([len(wav) for wav in checked], budget):
                if bounded and len(checked[batch[0]]) > budget:
                    results[batch[0]] = self.stream().encode_whole(checked[batch[0]], sample_rate)
                    continue
                codes, lengths = self.model.analyze(*self._pad_wavs([checked[i] for i in batch]))
                codes, lengths = codes.cpu().numpy(), lengths.tolist()
                for row, index in enumerate(batch):
                    results[index] = codes[row, : lengths[row]].copy()
        return results

    def stream(self) -> EncodeStream:
        """Encode one utterance while it arrives: ``push(chunk, sample_rate)``, ``flush()`` return its tokens (t, N).

        Raises:
            SiTokError: a model without codes, or an encoder that cannot stream.
        """
        self._require_codes("stream tokens")
        return EncodeStream(self.model, self._computing)

    def log_mel(self, wav, sample_rate: int) -> np.ndarray:
        """One waveform (S,) -> (F, M) float32 natural-log mel."""
        checked = self._check_wavs([wav], sample_rate)
        with exact_inference():
            feats, _ = self.model.feats_extract(*self._pad_wavs(checked))
        return feats[0].cpu().numpy()

    def transcribe(self, codes: Sequence) -> list[str]:
        """Text of tokens by the CTC branch, greedily (not a recogniser: what the tokens carry). Codes as in decode.

        Raises:
            SiTokError: the model has no CTC branch or no token list.
        """
        if self.model.ctc is None:
            raise SiTokError(f"the model in {self.directory} has no CTC branch (ctc: null): it cannot transcribe")
        if not self.model.token_list:
            raise SiTokError(f"the model in {self.directory} has no token list: its CTC outputs have no text")
        checked = self._check_codes(codes)
        results = [""] * len(checked)
        with self._computing():
            for batch in self._token_batches(checked):
                hypotheses = self.model.ctc_greedy(*self._pad_codes([checked[i] for i in batch]))
                for index, pieces in zip(batch, hypotheses, strict=True):
                    results[index] = self._join_pieces(pieces)
        return results

    # ---------------------------------------------------------------- tokens to speech

    def decode(
        self,
        codes: Sequence,
        steps: int | None = None,
        cfg_scale: float = 0.0,
        seed: int = 0,
        num_samples: Sequence[int] | None = None,
        prompt: Sequence | None = None,
        chunk_seconds: float | None = None,
        temperature: float | None = None,
    ) -> list[np.ndarray]:
        """Tokens to waveforms.

        Args:
            codes: integer (T, N) arrays; of a model without codes what `analyze` gives.
            steps: solver steps of the decoder; None is what the model was packed with, or 16 (a regression decoder has
                none, and refuses a number).
            cfg_scale: weight of token classifier-free guidance, 0 is off.
            seed: of every utterance's noise; the noise depends on nothing else.
            num_samples: exact length of each result; by default hop * k * T.
            prompt: for every utterance (codes (P, N), natural-log mel (F, M) of the same speech, as `log_mel` gives
                it), or None. The decoder continues it; it is not part of the result. Needs a decoder trained with
                prompt: true. Take it from another utterance of the speaker, never from the target.
            chunk_seconds: decode utterances that are longer in windows of about this length, in bounded memory
                (sitok_espnet/chunked.py); None decodes them whole.
            temperature: scale of that noise, 0 to 2; None is what the model was packed with, or 1 (a regression decoder
                has no noise, and refuses a number).

        Returns:
            float32 (num_samples,) waveforms at `sample_rate`.

        Raises:
            SiTokError: unknown codes, wrong shapes, lengths that do not belong to the codes, bad options.
        """
        checked = self._check_codes(codes)
        if num_samples is not None:
            self._check_num_samples(checked, num_samples)
        if chunk_seconds is not None:
            sampling = self.sampling(steps, cfg_scale, seed, temperature)
            return decode_in_chunks(self, checked, chunk_seconds, num_samples, sampling, int(seed), prompt)
        return self.vocode(self.decode_mel(checked, steps, cfg_scale, seed, prompt, temperature), num_samples)

    def decode_mel(
        self,
        codes: Sequence,
        steps: int | None = None,
        cfg_scale: float = 0.0,
        seed: int = 0,
        prompt: Sequence | None = None,
        temperature: float | None = None,
    ) -> list[np.ndarray]:
        """Tokens to (kT, M) float32 natural-log mels; arguments as in decode."""
        sampling = self.sampling(steps, cfg_scale, seed, temperature)
        checked = self._check_codes(codes)
        prompts = check_prompts(self.model, prompt, checked)
        longest = max((len(item) for item in checked), default=0)
        draw = utterance_noise(int(seed), self.stacking_factor * longest, self.mel_config.n_mels)
        results: list[np.ndarray] = [np.empty(0)] * len(checked)
        for batch in self._token_batches(checked, [0 if p is None else len(p.codes) for p in prompts]):
            before = [prompts[i] for i in batch]
            mels = self.mel_from_noise([checked[i] for i in batch], draw, sampling, before)
            for index, mel in zip(batch, mels, strict=True):
                results[index] = mel
        return results

    def mel_from_noise(
        self,
        codes: list[np.ndarray],
        noise: torch.Tensor,
        sampling: SamplingConfig,
        prompts: Sequence[Prompt | None],
    ) -> list[np.ndarray]:
        """One batch of checked codes (T, N), with prompts, one unscaled draw (>= k * longest T, M): (kT, M) mels."""
        k = self.stacking_factor
        with self._computing():
            padded, lengths = self._pad_codes(codes)
            # Each row has the same draw; what lies beyond its length cannot matter.
            draws = noise[: k * padded.shape[1]].to(self.device).expand(len(codes), -1, -1)
            mel = self.model.decode(padded, lengths, draws, sampling, pad_prompts(prompts, self.device))
            mel = mel.float().cpu().numpy()
        return [mel[row, : k * len(item)].copy() for row, item in enumerate(codes)]

    def vocode(self, log_mels: Sequence, num_samples: Sequence[int] | None = None) -> list[np.ndarray]:
        """(F, M) natural-log mels to waveforms of num_samples (default hop * F), each on its own.

        Frames beyond ceil(num_samples / hop) are cut off before the vocoder.
        """
        hop, n_mels = self.mel_config.hop_length, self.mel_config.n_mels
        if num_samples is not None and len(num_samples) != len(log_mels):
            raise SiTokError(f"vocode: {len(log_mels)} mels but {len(num_samples)} lengths in num_samples")
        wavs = []
        with exact_inference():
            for index, log_mel in enumerate(log_mels):
                mel = torch.as_tensor(log_mel, dtype=torch.float32, device=self.device)
                if mel.ndim != 2 or mel.shape[1] != n_mels or len(mel) == 0:
                    raise SiTokError(
                        f"vocode: mel {index} has shape {tuple(mel.shape)}, expected (F, {n_mels}), F >= 1"
                    )
                wanted = hop * len(mel) if num_samples is None else int(num_samples[index])
                if not 1 <= wanted <= hop * len(mel):
                    raise SiTokError(
                        f"vocode: num_samples[{index}] is {wanted}, but {len(mel)} mel frames "
                        f"hold 1 to {hop * len(mel)}"
                    )
                wav = self.vocoder(mel[None, : -(-wanted // hop)])[0]
                wavs.append(wav[:wanted].float().cpu().numpy())
        return wavs

    def resynthesize(self, wavs: Sequence, sample_rate: int, **options) -> list[np.ndarray]:
        """analyze, then decode (its options: steps, cfg_scale, seed, temperature) to the same numbers of samples."""
        if "num_samples" in options:
            raise SiTokError("resynthesize takes the lengths from the waveforms: leave num_samples out")
        checked = self._check_wavs(wavs, sample_rate)
        codes = self.analyze(checked, sample_rate)
        return self.decode(codes, num_samples=[len(wav) for wav in checked], **options)

    def sampling(
        self, steps: int | None = None, cfg_scale: float = 0.0, seed: int = 0, temperature: float | None = None
    ) -> SamplingConfig:
        """What the decoder is told for these options of decode, None filled in; SiTokError for bad ones."""
        asked = sampling_options(steps, cfg_scale, seed, temperature)
        return with_defaults(asked, self._packed, self.model.decoder.iterative)

    # ---------------------------------------------------------------- helpers

    @contextmanager
    def _computing(self) -> Iterator[None]:
        """exact_inference, and autocast where bfloat16 was asked for (the quantizer leaves it by itself)."""
        lower = self.dtype == torch.bfloat16
        with exact_inference(), torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=lower):
            yield

    def _require_codes(self, verb: str) -> None:
        if not self.num_codebooks:
            name = self.config.get("quantizer")
            raise SiTokError(
                f"the model in {self.directory} cannot {verb}: its quantizer ({name}) is continuous and has no codes"
            )

    def _check_wavs(self, wavs: Sequence, sample_rate: int) -> list[np.ndarray]:
        check_sample_rate(sample_rate, self.sample_rate)
        if getattr(wavs, "ndim", None) is not None:
            raise SiTokError(
                f"expected a list of 1-D waveforms, got one array of shape {tuple(wavs.shape)}: pass [wav] for one"
            )
        return [check_waveform(wav, f"waveform {index}") for index, wav in enumerate(wavs)]

    def _pad_wavs(self, wavs: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        padded = np.zeros((len(wavs), max(len(wav) for wav in wavs)), dtype=np.float32)
        for row, wav in enumerate(wavs):
            padded[row, : len(wav)] = wav
        lengths = torch.tensor([len(wav) for wav in wavs], dtype=torch.long)
        return torch.from_numpy(padded).to(self.device), lengths.to(self.device)

    def _check_codes(self, codes: Sequence) -> list[np.ndarray]:
        if getattr(codes, "ndim", None) is not None:
            raise SiTokError(
                f"expected a list of (T, N) codes, got one array of shape {tuple(codes.shape)}: pass [codes]"
            )
        if not self.num_codebooks:
            return [self._check_latents(item, f"latents {index}") for index, item in enumerate(codes)]
        return [check_codes(item, self.codebook_sizes, f"codes {index}") for index, item in enumerate(codes)]

    def _check_latents(self, latents, name: str) -> np.ndarray:
        """What `analyze` gave for a model without codes; SiTokError for anything else, integer codes by name."""
        array = latents.detach().cpu().numpy() if hasattr(latents, "detach") else np.asarray(latents)
        if not np.issubdtype(array.dtype, np.floating):
            self._require_codes("decode tokens")
        width = self.model.quantizer.codebook_dim
        if array.ndim != 2 or array.shape[1] != width or len(array) == 0 or not np.isfinite(array).all():
            raise SiTokError(f"{name}: expected finite numbers of shape (T, {width}) with T >= 1, got {array.shape}")
        return array.astype(np.float32)

    def _check_num_samples(self, codes: list[np.ndarray], num_samples: Sequence[int]) -> None:
        if len(num_samples) != len(codes):
            raise SiTokError(f"decode: {len(codes)} utterances but {len(num_samples)} lengths in num_samples")
        for index, (item, wanted) in enumerate(zip(codes, num_samples, strict=True)):
            high = len(item) * self.samples_per_token
            if not high - self.samples_per_token < wanted <= high:
                raise SiTokError(
                    f"decode: num_samples[{index}] is {wanted}, but {len(item)} tokens stand for "
                    f"{high - self.samples_per_token + 1} to {high} samples: do the lengths belong to these tokens?"
                )

    def _token_batches(self, codes: list[np.ndarray], lead: Sequence[int] | None = None) -> list[list[int]]:
        """Batches of codes that each have `lead` tokens before them."""
        lengths = [len(item) + extra for item, extra in zip(codes, lead or [0] * len(codes), strict=True)]
        return make_batches(lengths, DECODE_BATCH_SECONDS * float(self.frame_rate))

    def _pad_codes(self, codes: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
        longest, width = max(len(item) for item in codes), codes[0].shape[1]
        padded = np.zeros((len(codes), longest, width), dtype=codes[0].dtype)
        for row, item in enumerate(codes):
            padded[row, : len(item)] = item
        lengths = torch.tensor([len(item) for item in codes], dtype=torch.long)
        return torch.from_numpy(padded).to(self.device), lengths.to(self.device)

    def _join_pieces(self, pieces: Sequence[int]) -> str:
        """SentencePiece's joining rule: pieces run together, the mark U+2581 is a blank."""
        text = "".join(self.model.token_list[piece] for piece in pieces)
        return text.replace("<sos/eos>", "").replace("\u2581", " ").strip()
