"""Speech recognition by CTC on the frames of the body, greedy decoding."""

from torch import Tensor, nn

from sitok_espnet.probes.head.abs_head import AbsHead, HeadLoss, edit_counts
from sitok_espnet.sitok.ctc.objective import ctc_loss, greedy


class CTCHead(AbsHead):
    """Linear to text pieces; piece 0 is the blank.

    Args:
        input_size, num_targets: D' and the number of pieces (given by the model).
    """

    reads_pooled = False
    target = "text"

    def __init__(self, input_size: int, num_targets: int):
        super().__init__()
        self.output = nn.Linear(input_size, num_targets)

    def loss(self, x: Tensor, lengths: Tensor, target: Tensor, target_lengths: Tensor) -> HeadLoss:
        """Utterances with more pieces than frames train nothing (sitok/ctc/objective.py) and count as they are read."""
        logits = self.output(x)
        loss = ctc_loss(logits, lengths, target, target_lengths).loss
        errors = None if self.training else edit_counts(target, target_lengths, greedy(logits, lengths)).to(x.device)
        return HeadLoss(loss, errors, target_lengths.sum())

    def predict(self, x: Tensor, lengths: Tensor) -> list[list[int]]:
        return greedy(self.output(x), lengths)
