"""SiTok as an ESPnet model: mel -> encoder -> quantizer -> CTC and diffusion decoder (PAPER sections 1 and 2)."""

import torch
import torch.nn.functional as F
from espnet2.layers.abs_normalize import AbsNormalize
from espnet2.torch_utils.device_funcs import force_gatherable
from espnet2.train.abs_espnet_model import AbsESPnetModel
from torch import Tensor

from sitok_espnet.errors import SiTokError
from sitok_espnet.nn.masks import valid_mask
from sitok_espnet.nn.stacking import stack_frames, unstack_frames
from sitok_espnet.sitok.ctc.abs_ctc import AbsCTC
from sitok_espnet.sitok.ctc.objective import ctc_loss, greedy
from sitok_espnet.sitok.decoder.abs_decoder import AbsDecoder, DecoderBatch, SamplingConfig
from sitok_espnet.sitok.decoder.prompt import MelPrompt, TokenPrompt, cut, join
from sitok_espnet.sitok.encoder.abs_encoder import AbsEncoder
from sitok_espnet.sitok.mel.abs_feats_extract import AbsFeatsExtract
from sitok_espnet.sitok.quantizer.abs_quantizer import AbsQuantizer
from sitok_espnet.sitok.randomness import AbsDraws, TrainingDraws, ValidationDraws


class SiTokModel(AbsESPnetModel):
    """Total loss ``L_decoder + lambda_ctc * CTC + L_vq`` (PAPER section 2).

    Shapes: B batch, S samples, F = ceil(S / hop) mel frames, k stacking factor, T = ceil(F / k) tokens, M mel bins,
    N codebooks. Batches are padded on the right; nothing computed for valid positions depends on the padding.

    Args:
        feats_extract, normalize, encoder, quantizer, ctc, decoder: the slots; ``normalize`` and ``ctc`` may be None.
        token_list: text pieces of the CTC branch, or None.
        stacking_factor: k; 4 gives 12.5 tokens/s, 8 gives 6.25, 2 gives 25.
        lambda_ctc: 0.1 in the paper.
    """

    def __init__(
        self,
        feats_extract: AbsFeatsExtract,
        normalize: AbsNormalize | None,
        encoder: AbsEncoder,
        quantizer: AbsQuantizer,
        ctc: AbsCTC | None,
        decoder: AbsDecoder,
        token_list: list[str] | None = None,
        stacking_factor: int = 4,
        lambda_ctc: float = 0.1,
    ):
        super().__init__()
        self.feats_extract = feats_extract
        self.normalize = normalize
        self.encoder = encoder
        self.quantizer = quantizer
        self.ctc = ctc
        self.decoder = decoder
        self.token_list = token_list
        self.stacking_factor = stacking_factor
        self.lambda_ctc = lambda_ctc

    @property
    def samples_per_token(self) -> int:
        """480 k at 24 kHz."""
        return self.feats_extract.config.hop_length * self.stacking_factor

    def collect_feats(self, speech: Tensor, speech_lengths: Tensor, **kwargs) -> dict[str, Tensor]:
        """Un-normalised log-mel of F frames for ESPnet's statistics stage, in float64 so that it sums in float64."""
        feats, lengths = self.feats_extract(speech, speech_lengths)
        return {"feats": feats.double(), "feats_lengths": lengths}

    def mel(self, speech: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Speech (B, S) -> normalised stacked log-mel (B, T, kM), frame lengths F (B,), token lengths T (B,)."""
        speech = F.pad(speech, (0, -speech.size(1) % self.samples_per_token))
        feats, frames = self.feats_extract(speech, lengths)
        tokens = torch.div(frames + self.stacking_factor - 1, self.stacking_factor, rounding_mode="floor")
        if self.normalize is not None:
            feats, _ = self.normalize(feats, tokens * self.stacking_factor)
        return stack_frames(feats, self.stacking_factor), frames, tokens

    def forward(
        self,
        speech: Tensor,
        speech_lengths: Tensor,
        text: Tensor | None = None,
        text_lengths: Tensor | None = None,
        utt_id: list[str] | None = None,
        **kwargs,
    ):
        """One training or validation batch, ESPnet's contract: -> (loss, stats, weight).

        speech (B, S) at 24 kHz, speech_lengths (B,) samples, text (B, L) piece ids, text_lengths (B,); an utterance
        with ``text_lengths`` 0, or a batch without text, trains everything but the CTC. The weight is the number of
        valid frames, so that means over ranks and epochs are means over frames.
        """
        stacked, frames, tokens = self.mel(speech, speech_lengths)
        quantized = self.quantizer(self.encoder(stacked), tokens)
        k = self.stacking_factor
        batch, positions, width = stacked.shape
        valid = valid_mask(frames, positions * k).view(batch, positions, k, 1)
        valid = valid.expand(-1, -1, -1, width // k).reshape(batch, positions, width).float()
        decoder_batch = DecoderBatch(stacked, quantized.quantized, tokens, valid)
        decoded = self.decoder.loss(decoder_batch, self._draws(batch, speech.device, utt_id))

        loss = decoded.loss + quantized.loss
        stats = {"loss_decoder": decoded.loss.detach(), "loss_quantizer": quantized.loss.detach()}
        stats |= decoded.stats | quantized.stats
        if self.ctc is not None:
            ctc = ctc_loss(self.ctc(quantized.quantized, quantized.quantized_per_codebook), tokens, text, text_lengths)
            loss = loss + self.lambda_ctc * ctc.loss
            stats |= {"ctc_infeasible": ctc.infeasible.float(), "ctc_without_text": ctc.without_text.float()}
            if text is not None:  # the same keys on all ranks: ESPnet averages them collectively
                stats["loss_ctc"] = ctc.loss.detach()
        stats["loss"] = loss.detach()
        return force_gatherable((loss, stats, frames.sum()), loss.device)

    def _draws(self, batch_size: int, device: torch.device, utt_id: list[str] | None) -> AbsDraws:
        if self.training:
            return TrainingDraws(batch_size, device)
        return ValidationDraws(utt_id or [str(i) for i in range(batch_size)], device)

    @torch.no_grad()
    def latents(self, speech: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Speech (B, S), lengths (B,) samples -> pre-quantizer latents (B, T, D), token lengths (B,)."""
        stacked, _, tokens = self.mel(speech, lengths)
        return self.encoder(stacked), tokens

    @torch.no_grad()
    def encode(self, speech: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Speech (B, S), lengths (B,) samples -> codes (B, T, N) int64, token lengths (B,)."""
        latents, tokens = self.latents(speech, lengths)
        return self.quantizer.encode(latents), tokens

    @torch.no_grad()
    def analyze(self, speech: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Speech (B, S), lengths (B,) samples -> what :meth:`decode` reads, token lengths (B,).

        That is codes (B, T, N) int64, or the latents (B, T, D) themselves where the quantizer is continuous.
        """
        latents, tokens = self.latents(speech, lengths)
        if self.quantizer.num_codebooks:
            return self.quantizer.encode(latents), tokens
        return self.quantizer(latents, tokens).quantized, tokens

    @torch.no_grad()
    def decode(
        self,
        codes: Tensor,
        lengths: Tensor,
        noise: Tensor,
        sampling: SamplingConfig,
        prompt: TokenPrompt | None = None,
    ) -> Tensor:
        """Codes (B, T, N), lengths (B,) tokens, noise (B, kT, M) -> log-mel (B, kT, M) in natural log units.

        A model without codes takes its latents (B, T, D) instead, see :meth:`analyze`.
        A prompt goes before its target through the decoder and is cut off again: the noise is the target's, with or
        without a prompt. Frames beyond k * length are at the log floor: a normalised zero would be loud (DESIGN
        section 8).
        """
        k = self.stacking_factor
        noise = stack_frames(noise, k)
        if prompt is None:
            stacked = self.decoder.sample(self._quantized(codes), lengths, noise, sampling)
        else:
            stacked = self._sample_after(prompt, codes, lengths, noise, sampling)
        mel = unstack_frames(stacked, k)
        if self.normalize is not None:
            mel, _ = self.normalize.inverse(mel, lengths * k)
        padding = ~valid_mask(lengths * k, mel.size(1))[:, :, None]
        return mel.masked_fill(padding, self.feats_extract.config.log_floor)

    def _sample_after(
        self, prompt: TokenPrompt, codes: Tensor, lengths: Tensor, noise: Tensor, sampling: SamplingConfig
    ) -> Tensor:
        """Sample [prompt, target] of every utterance: noise (B, T, kM) -> the targets' stacked mel (B, T, kM)."""
        mel = prompt.mel.clone()  # ESPnet normalises in place
        if self.normalize is not None:
            mel, _ = self.normalize(mel, prompt.lengths * self.stacking_factor)
        mel = stack_frames(mel, self.stacking_factor)
        quantized = self._quantized(join(prompt.codes, prompt.lengths, codes, lengths))
        joined = join(mel, prompt.lengths, noise, lengths)
        # The prompt's own positions begin at the clean mel too; they are put back at every step anyway.
        known = MelPrompt(joined, prompt.lengths)
        stacked = self.decoder.sample(quantized, prompt.lengths + lengths, joined, sampling, known)
        return cut(stacked, prompt.lengths, codes.size(1))

    @torch.no_grad()
    def ctc_greedy(self, codes: Tensor, lengths: Tensor) -> list[list[int]]:
        """Codes (B, T, N) as in decode, lengths (B,) -> text piece ids of every utterance, greedy CTC decoding."""
        if self.ctc is None:
            raise SiTokError("this model has no CTC branch (ctc: null in its configuration): it cannot transcribe")
        continuous = codes.is_floating_point()
        parts = codes[:, :, None] if continuous else self.quantizer.decode_per_codebook(codes)
        return greedy(self.ctc(self._quantized(codes), parts), lengths)

    def _quantized(self, codes: Tensor) -> Tensor:
        """Codes (B, T, N), or latents (B, T, D) of a model without codes, -> what the decoders read (B, T, D)."""
        return codes if codes.is_floating_point() else self.quantizer.decode_codes(codes)
