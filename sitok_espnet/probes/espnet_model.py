"""A probe as an ESPnet model: adapter -> body -> head on frozen features."""

from espnet2.torch_utils.device_funcs import force_gatherable
from espnet2.train.abs_espnet_model import AbsESPnetModel
from torch import Tensor

from sitok_espnet.probes.adapter.abs_adapter import AbsAdapter
from sitok_espnet.probes.body.abs_body import AbsBody
from sitok_espnet.probes.head.abs_head import AbsHead


class ProbeModel(AbsESPnetModel):
    """Shapes: B batch, T frames at the token rate, W numbers (or codes) a frame.

    Args:
        adapter, body, head: the slots.
        target_list: names of the classes or text pieces.
    """

    def __init__(self, adapter: AbsAdapter, body: AbsBody, head: AbsHead, target_list: list[str]):
        super().__init__()
        self.adapter = adapter
        self.body = body
        self.head = head
        self.target_list = target_list

    def embed(self, feats: Tensor, lengths: Tensor) -> Tensor:
        """(B, T, W), lengths (B,) -> what the head reads: (B, D'), or (B, T, D')."""
        return self.body(self.adapter(feats), lengths)

    def forward(self, feats: Tensor, feats_lengths: Tensor, target: Tensor, target_lengths: Tensor, **kwargs):
        """One batch, ESPnet's contract: -> (loss, stats, weight).

        target (B, L): piece ids, or one class (L = 1). The weight is the number of labels or pieces, so that the
        ``error`` of an epoch is that of the whole set.
        """
        feats = feats[:, : int(feats_lengths.max())]
        found = self.head.loss(self.embed(feats, feats_lengths), feats_lengths, target, target_lengths)
        stats = {"loss": found.loss.detach()}
        if found.errors is not None:
            stats["error"] = found.errors.detach() / found.units
        return force_gatherable((found.loss, stats, found.units), found.loss.device)

    def collect_feats(self, **kwargs) -> dict[str, Tensor]:
        """Not used: the features are there, and their statistics are not needed."""
        raise NotImplementedError("probes have no statistics stage")

    def predict(self, feats: Tensor, lengths: Tensor) -> list[list[int]]:
        """Classes (one an utterance) or piece ids of every utterance."""
        return self.head.predict(self.embed(feats, lengths), lengths)
