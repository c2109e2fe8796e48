"""Speech recognition by a small autoregressive language model that reads the frames as its prompt.

The paper's LLM-ASR fine-tunes a model of 1B parameters that knows English already (PAPER section 4); this one has
26.5M (conf/probe/asr_lm.yaml), starts at random and knows what the transcripts of the training set say: its numbers
compare inputs with one another, not with the paper's. It is the task's only architecture: nothing is chosen.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sitok_espnet.errors import SiTokError
from sitok_espnet.probes.head.abs_head import AbsHead, HeadLoss


class LanguageModelHead(AbsHead):
    """`transformers`' Llama over [frames, <sos>, text pieces]; the loss is on the pieces and the end.

    The last piece of the list, <sos/eos>, begins and ends a text.

    Args:
        input_size, num_targets: D' and the number of pieces (given by the model).
        hidden_size, intermediate_size, num_layers, num_heads: of the Llama.
        dropout: of its input.
        max_ratio: a text has at most so many pieces a frame (and at most max_pieces).
        max_pieces: absolute limit.
    """

    reads_pooled = False
    target = "text"

    def __init__(
        self,
        input_size: int,
        num_targets: int,
        hidden_size: int = 512,
        intermediate_size: int = 1376,
        num_layers: int = 6,
        num_heads: int = 8,
        dropout: float = 0.1,
        max_ratio: float = 1.0,
        max_pieces: int = 200,
    ):
        super().__init__()
        try:
            from transformers import LlamaConfig, LlamaForCausalLM
        except ImportError as error:
            raise SiTokError("head language_model needs transformers: pip install 'sitok_espnet[tts]'") from error
        self.edge = num_targets - 1
        self.max_ratio, self.max_pieces = max_ratio, max_pieces
        self.input = nn.Sequential(nn.Linear(input_size, hidden_size), nn.Dropout(dropout))
        self.model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=num_targets,
                hidden_size=hidden_size,
                intermediate_size=intermediate_size,
                num_hidden_layers=num_layers,
                num_attention_heads=num_heads,
                bos_token_id=self.edge,
                eos_token_id=self.edge,
                pad_token_id=None,
                max_position_embeddings=8192,
            )
        )

    def loss(self, x: Tensor, lengths: Tensor, target: Tensor, target_lengths: Tensor) -> HeadLoss:
        """Cross-entropy per piece; errors are of the next piece given the right ones before it."""
        embed = self.model.get_input_embeddings()
        frames = self.input(x)
        rows, answers, places = [], [], []
        for row, (frame_count, count) in enumerate(zip(lengths.tolist(), target_lengths.tolist(), strict=True)):
            text = target[row, :count]
            edge = text.new_full((1,), self.edge)
            # Each row is compact: the text follows its own last frame, so that causality alone hides the padding.
            rows.append(torch.cat([frames[row, :frame_count], embed(torch.cat([edge, text]))]))
            answers.append(torch.cat([text, edge]))
            places.append(torch.arange(frame_count, frame_count + count + 1, device=x.device))
        padded = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        hidden = self.model.model(inputs_embeds=padded, use_cache=False).last_hidden_state
        logits = self.model.lm_head(torch.cat([hidden[row, place] for row, place in enumerate(places)]))
        answer = torch.cat(answers)
        errors = (logits.argmax(dim=-1) != answer).sum()
        return HeadLoss(F.cross_entropy(logits.float(), answer), errors.float(), errors.new_tensor(len(answer)))

    @torch.no_grad()
    def predict(self, x: Tensor, lengths: Tensor) -> list[list[int]]:
        """Greedy, one utterance at a time."""
        results = []
        start = self.model.get_input_embeddings()(lengths.new_tensor([[self.edge]]))
        for frames, length in zip(self.input(x), lengths.tolist(), strict=True):
            prompt = torch.cat([frames[None, :length], start], dim=1)
            limit = min(self.max_pieces, max(1, int(self.max_ratio * length)))
            ids = self.model.generate(
                inputs_embeds=prompt,
                attention_mask=torch.ones(prompt.shape[:2], dtype=torch.long, device=x.device),
                max_new_tokens=limit,
                do_sample=False,
                pad_token_id=self.edge,
            )[0].tolist()
            results.append(ids[: ids.index(self.edge)] if self.edge in ids else ids)
        return results
