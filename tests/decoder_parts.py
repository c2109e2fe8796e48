"""Small decoders, a batch for them, and draws that a test hands in."""

import torch

from sitok_espnet.sitok.decoder.abs_decoder import DecoderBatch
from sitok_espnet.sitok.decoder.flow_matching import FlowMatchingDecoder
from sitok_espnet.sitok.decoder.flow_matching_coarse import CoarseStartDecoder
from sitok_espnet.sitok.decoder.flow_matching_light import LightFlowMatchingDecoder
from sitok_espnet.sitok.decoder.regression import RegressionDecoder
from sitok_espnet.sitok.randomness import AbsDraws

MEL, CONDITION = 8, 6
ITERATIVE = ("flow_matching", "flow_matching_light")
DECODERS = {
    "flow_matching": (FlowMatchingDecoder, {"num_layers": 2, "prediction": "x"}),
    "flow_matching_light": (LightFlowMatchingDecoder, {"num_body_layers": 2, "num_head_layers": 1, "prediction": "x"}),
    "flow_matching_coarse": (
        CoarseStartDecoder,
        {"num_body_layers": 2, "num_head_layers": 1, "prediction": "x"},
    ),
    "regression": (RegressionDecoder, {"num_layers": 2}),
}


def small(name="flow_matching", seed=0, **options):
    """A seeded decoder whose zero-initialised parts are random, except the step-size embedding of a shortcut."""
    torch.manual_seed(seed)
    kind, defaults = DECODERS[name]
    decoder = kind(
        MEL, CONDITION, **{"hidden_size": 16, "intermediate_size": 24, "num_heads": 2, **defaults, **options}
    )
    for part, parameter in decoder.named_parameters():
        if not parameter.any() and not part.startswith("step_size_embedding"):
            torch.nn.init.normal_(parameter, std=0.2)
    return decoder


def randomise_step_size(decoder):
    """As after some training: the network listens to the step size."""
    torch.manual_seed(5)
    torch.nn.init.normal_(decoder.step_size_embedding.mlp[-1].weight, std=0.5)
    return decoder


def batch_of(lengths, positions=5):
    """Random target and latents, also beyond the lengths; whole tokens are valid."""
    torch.manual_seed(1)
    size = len(lengths)
    valid = (torch.arange(positions)[None] < torch.tensor(lengths)[:, None]).float()[:, :, None]
    target, quantized = torch.randn(size, positions, MEL), torch.randn(size, positions, CONDITION)
    return DecoderBatch(target, quantized, torch.tensor(lengths), valid)


def row_of(batch, row):
    """One utterance of a batch without its padding."""
    length = batch.lengths[row]
    cut = [tensor[row : row + 1, :length] for tensor in (batch.target, batch.quantized, batch.valid)]
    return DecoderBatch(cut[0], cut[1], batch.lengths[row : row + 1], cut[2])


class FixedDraws(AbsDraws):
    """Draws handed in by the test; ``uniforms`` by purpose. What was not handed in must not be drawn."""

    num_strata = 1

    def __init__(self, t, noise, dropped=None, share=None, **uniforms):
        self._t, self._noise, self._share, self._uniforms = t, noise, share, uniforms
        self._dropped = torch.zeros(len(t), dtype=torch.bool) if dropped is None else dropped

    def times(self, stratum):
        return self._t

    def noise(self, positions, width):
        return self._noise

    def dropped(self, probability):
        return self._dropped

    def uniform(self, purpose, stratum=0):
        return self._uniforms[purpose.replace(" ", "_")]

    def share(self, probability):
        assert probability == 0.25 and self._share is not None
        return self._share


def context_of(decoder, batch, dropped=None):
    """What a decoder adds to the projected x_t, by the paper's formulas: Linear(z_q), or D_main of it."""
    condition = decoder.condition_input(batch.quantized)
    if dropped is not None:
        condition = torch.where(dropped[:, None, None], decoder.null_condition, condition)
    return decoder.body(condition, batch.lengths) if hasattr(decoder, "body") else condition
