"""The regression baseline R: the mel in a single pass (PAPER section 2)."""

from torch import Tensor, nn

from sitok_espnet.errors import SiTokError
from sitok_espnet.nn.llama import LlamaStack
from sitok_espnet.sitok.decoder.abs_decoder import AbsDecoder, DecoderBatch, DecoderLoss, SamplingConfig
from sitok_espnet.sitok.decoder.prompt import MelPrompt
from sitok_espnet.sitok.randomness import AbsDraws


class RegressionDecoder(AbsDecoder):
    """Non-causal Llama layers with ordinary norms on Linear(z_q); L1 on the mel.

    No noise and no time: draws and steps do not exist for it.

    Args:
        mel_size: kM (given by the model, not a configuration key).
        condition_size: D of z_q (likewise).
        num_layers, hidden_size, intermediate_size, num_heads: as of the flow-matching decoder.
    """

    iterative = False

    def __init__(
        self,
        mel_size: int,
        condition_size: int,
        num_layers: int = 16,
        hidden_size: int = 1536,
        intermediate_size: int = 4096,
        num_heads: int = 16,
    ):
        super().__init__()
        self.condition_input = nn.Linear(condition_size, hidden_size)
        self.stack = LlamaStack(num_layers, hidden_size, intermediate_size, num_heads, causal=False)
        self.output = nn.Linear(hidden_size, mel_size)

    def predict(self, quantized: Tensor, lengths: Tensor) -> Tensor:
        """quantized (B, T, D), lengths (B,) -> mel (B, T, kM), fp32."""
        return self.output(self.stack(self.condition_input(quantized), lengths)).float()

    def loss(self, batch: DecoderBatch, draws: AbsDraws) -> DecoderLoss:
        """``|| D(z_q) - x ||_1``, the mean over valid elements."""
        valid = batch.valid.expand_as(batch.target)
        error = (self.predict(batch.quantized, batch.lengths) - batch.target).abs()
        return DecoderLoss((error * valid).sum() / valid.sum())

    def sample(
        self,
        quantized: Tensor,
        lengths: Tensor,
        noise: Tensor,
        sampling: SamplingConfig,
        prompt: MelPrompt | None = None,
    ) -> Tensor:
        """The mel; ``noise`` is not used. SiTokError for steps, guidance, a temperature or a prompt asked for."""
        if sampling.steps is not None:
            raise SiTokError("a regression decoder has no solver steps: leave steps (--steps) out")
        if sampling.cfg_scale != 0:
            raise SiTokError("a regression decoder has no guidance: leave cfg_scale (--cfg_scale) out, or 0")
        if sampling.temperature is not None:
            raise SiTokError("a regression decoder has no noise: leave temperature (--temperature) out")
        if prompt is not None:
            raise SiTokError("a regression decoder takes no mel prompt: leave it out")
        return self.predict(quantized, lengths)
