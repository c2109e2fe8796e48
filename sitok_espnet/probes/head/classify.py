"""One class an utterance, by a linear layer (``softmax``) or with an angular margin (``aam_softmax``)."""

import torch.nn.functional as F
from espnet2.spk.loss.aamsoftmax import AAMSoftmax
from torch import Tensor, nn

from sitok_espnet.probes.head.abs_head import AbsHead, HeadLoss


class SoftmaxHead(AbsHead):
    """Linear and cross-entropy.

    Args:
        input_size, num_targets: D' and the number of classes (given by the model).
    """

    reads_pooled = True
    target = "label"

    def __init__(self, input_size: int, num_targets: int):
        super().__init__()
        self.output = nn.Linear(input_size, num_targets)

    def scores(self, x: Tensor) -> Tensor:
        """(B, D') -> (B, classes)."""
        return self.output(x)

    def loss(self, x: Tensor, lengths: Tensor, target: Tensor, target_lengths: Tensor) -> HeadLoss:
        scores, target = self.scores(x), target[:, 0]
        errors = (scores.argmax(dim=-1) != target).sum()
        return HeadLoss(self._training_loss(x, scores, target), errors.float(), lengths.new_tensor(len(target)))

    def _training_loss(self, x: Tensor, scores: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(scores, target)

    def predict(self, x: Tensor, lengths: Tensor) -> list[list[int]]:
        return self.scores(x).argmax(dim=-1, keepdim=True).tolist()


class AAMSoftmaxHead(SoftmaxHead):
    """Additive angular margin (arXiv 1801.07698), ESPnet's, for embeddings that are compared by their cosine.

    Args:
        input_size, num_targets: as SoftmaxHead.
        margin: radians.
        scale: of the cosines.
    """

    def __init__(self, input_size: int, num_targets: int, margin: float = 0.2, scale: float = 30.0):
        super().__init__(input_size, num_targets)
        del self.output
        self.margin = AAMSoftmax(nout=input_size, nclasses=num_targets, margin=margin, scale=scale)

    def scores(self, x: Tensor) -> Tensor:
        """Cosines with the classes."""
        return F.linear(F.normalize(x), F.normalize(self.margin.weight))

    def _training_loss(self, x: Tensor, scores: Tensor, target: Tensor) -> Tensor:
        return self.margin(x, target)[0]
