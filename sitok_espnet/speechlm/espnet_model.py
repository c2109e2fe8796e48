"""The token language model as an ESPnet model (PAPER section 4, zero-shot TTS; details ours)."""

from typing import Any

import torch
import torch.nn.functional as F
from espnet2.torch_utils.device_funcs import force_gatherable
from espnet2.train.abs_espnet_model import AbsESPnetModel
from torch import Tensor

from sitok_espnet.errors import SiTokError
from sitok_espnet.sitok.randomness import TrainingDraws
from sitok_espnet.speechlm.lm.abs_lm import AbsLM
from sitok_espnet.speechlm.pattern.abs_pattern import AbsPattern
from sitok_espnet.speechlm.sequences import PackedBatch, make_sequence, pack
from sitok_espnet.tokens import unflatten_codes


class SpeechLMModel(AbsESPnetModel):
    """Weighted mean of -log p over all codes and ends, each among what may stand there (`JointVocabulary.choices`).

    Shapes: B utterances, U text pieces, T frames, N codebooks, S streams.

    Args:
        lm: the backbone.
        pattern: where codes stand in a sequence; it knows the joint vocabulary.
        text_drop: share of training utterances whose text is not seen: the null condition of guidance.
        pack_length: positions of a row in which several utterances stand, apart from each other; None: one a row.
        code_drop: share of the steps whose codes training does not show to the model, which predicts them all the same
            (word dropout, Bowman et al. 2016, section 3.1; they put the unknown word there, here it is nothing): what
            came before says less, so that the text has to say more. All codes of a step are hidden, because those of
            the other codebooks would give it away.
        first_codebook_weight: of codes (and ends) of codebook 0 in the loss, where the others weigh 1. A residual
            quantizer's first codebook says what is spoken, and of eight it would be an eighth of the loss (Moshi,
            Défossez et al. 2024, weighs its first, semantic codebook 100 times).
    """

    def __init__(
        self,
        lm: AbsLM,
        pattern: AbsPattern,
        text_drop: float = 0.1,
        pack_length: int | None = 2048,
        code_drop: float = 0.0,
        first_codebook_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if not 0 <= code_drop < 1:
            raise SiTokError(f"model_conf code_drop must be in [0, 1), got {code_drop}")
        if not first_codebook_weight > 0:
            raise SiTokError(f"model_conf first_codebook_weight must be positive, got {first_codebook_weight}")
        if not 0 <= text_drop < 1:
            raise SiTokError(f"model_conf text_drop must be in [0, 1), got {text_drop}")
        if pack_length is not None and pack_length < 1:
            raise SiTokError(f"model_conf pack_length must be positive or null, got {pack_length}")
        self.lm = lm
        self.pattern = pattern
        self.vocabulary = pattern.vocabulary
        self.text_drop = text_drop
        self.pack_length = pack_length
        self.code_drop = code_drop
        self.first_codebook_weight = first_codebook_weight

    def collect_feats(self, **batch: Any) -> dict[str, Tensor]:
        """Nothing: lengths are all that stage 4 needs."""
        return {}

    def forward(
        self,
        text: Tensor,
        text_lengths: Tensor,
        codes: Tensor,
        codes_lengths: Tensor,
        utt_id: list[str] | None = None,
        **kwargs: Any,
    ):
        """One batch, ESPnet's contract: -> (loss, stats, weight).

        text (B, U) piece identifiers, codes (B, T N) values as a token dump holds them (sitok_espnet/tokens.py), each
        padded on the right. The batch's weight is the sum of those of its predicted codes and ends: their number, where
        all weigh the same.
        """
        items = []
        draws = TrainingDraws(len(text), text.device) if self.training else None
        text, codes = text.cpu(), codes.cpu()  # sequences are put together there
        for row in range(len(text)):
            name = utt_id[row] if utt_id else f"utterance {row} of the batch"
            values = codes[row, : int(codes_lengths[row])].numpy()
            values = torch.from_numpy(unflatten_codes(values, self.vocabulary.codebook_sizes, name))
            items.append((text[row, : int(text_lengths[row])], values))
        if draws:
            drop = draws.dropped(self.text_drop).tolist()
            items = [(None if unseen else own, codes) for unseen, (own, codes) in zip(drop, items, strict=True)]
        nats, codebooks = self.losses(items, draws)
        weights = torch.where(codebooks == 0, self.first_codebook_weight, 1.0)
        loss = (weights * nats).sum() / weights.sum()
        stats = {"loss": loss.detach()}
        for codebook in range(self.vocabulary.num_codebooks):
            # Kept on every rank and in every batch: ESPnet averages the same keys collectively.
            stats[f"nats_{codebook}"] = nats[codebooks == codebook].mean().detach()
        return force_gatherable((loss, stats, weights.sum()), loss.device)

    def losses(
        self, items: list[tuple[Tensor | None, Tensor]], draws: TrainingDraws | None = None
    ) -> tuple[Tensor, Tensor]:
        """Text pieces (U,), None for the null condition, and codes (T, N) of utterances -> -log p in nats.

        ``draws``: of training, for ``code_drop``.

        Returns:
            (K,) nats of all codes and ends, by codebook, utterance by utterance in it, and their codebooks (K,).
        """
        nats, where = self.losses_by_utterance(items, draws)
        return nats, where[:, 1]

    def losses_by_utterance(
        self, items: list[tuple[Tensor | None, Tensor]], draws: TrainingDraws | None = None
    ) -> tuple[Tensor, Tensor]:
        """As `losses`; the second result is (K, 2): the utterance and the codebook of each."""
        device = next(self.parameters()).device
        sequences = [make_sequence(self.pattern, pieces, codes) for pieces, codes in items]
        self.check_positions(max(map(len, sequences)), "the longest utterance")
        batch = pack(sequences, self.pack_length, self.vocabulary.padding)
        batch = PackedBatch(**{name: part.to(device) for name, part in vars(batch).items()})
        inputs = self._without_some(batch.inputs, draws) if draws and self.code_drop else batch.inputs
        hidden = self.hidden(inputs, batch.attention_mask(), batch.positions)
        streams = self.pattern.num_streams
        owner = batch.sequence[:, :, None].expand(-1, -1, streams)
        nats, where = [], []
        for codebook in range(self.vocabulary.num_codebooks):
            chosen = batch.codebooks == codebook
            choices = self.vocabulary.choices(codebook)
            # A codebook stands in one stream, so a position is chosen at most once.
            logits = self.lm.logits(hidden[chosen.any(dim=-1)], choices).float()
            nats.append(F.cross_entropy(logits, batch.targets[chosen] - choices.start, reduction="none"))
            where.append(torch.stack([owner[chosen], torch.full_like(owner[chosen], codebook)], dim=1))
        return torch.cat(nats), torch.cat(where)

    def _without_some(self, inputs: Tensor, draws: TrainingDraws) -> Tensor:
        """Identifiers (R, P, S) with the padding in place of all codes of the steps that ``code_drop`` hides."""
        codes = inputs >= self.vocabulary.speech_offsets[0]
        hidden = draws.chosen(inputs.shape[:2], self.code_drop)[..., None]
        return inputs.masked_fill(codes & hidden, self.vocabulary.padding)

    def check_positions(self, count: int, what: str) -> None:
        """SiTokError where a sequence has more positions than the backbone."""
        limit = self.lm.max_positions()
        if limit is not None and count > limit:
            raise SiTokError(
                f"{what} needs {count} positions of the language model, which has {limit}: make it shorter, or train "
                "with more (lm_conf config max_position_embeddings)"
            )

    def hidden(self, inputs: Tensor, mask: Tensor, positions: Tensor, cache: Any = None) -> Tensor:
        """Identifiers (R, P, S) -> hidden states (R, P, D): the sum of the streams' embeddings through the backbone.

        Streams that hold the padding add nothing.
        """
        embeddings = self.lm.embed(inputs)
        embeddings = (embeddings * (inputs != self.vocabulary.padding)[..., None]).sum(dim=2)
        return self.lm(embeddings, mask, positions, cache)
