"""Neural codecs that come with the package transformers."""

from pathlib import Path
from typing import TYPE_CHECKING

from sitok_espnet.evaluate.peers.abs_neural import AbsNeuralPeer, require_all

if TYPE_CHECKING:
    import torch


class AbsTransformersPeer(AbsNeuralPeer):
    """Opens configuration and model through their classes.

    Class attributes:
        config_class, model_class: their names in ``transformers``.
        published: options of the published configuration, where they are not the class's defaults.
    """

    config_class: str
    model_class: str
    published: dict = {}

    @property
    def sample_rate_of_config(self) -> int:
        """Hz."""
        return self.config.sampling_rate

    def read_config(self, folder: Path | None) -> object:
        """An instance of ``config_class``."""
        import transformers

        config_class = getattr(transformers, self.config_class)
        if folder is None:
            return config_class(**self.published)
        return config_class.from_pretrained(folder, local_files_only=True)

    def build(self) -> "torch.nn.Module":
        """Random weights, as the class initialises them."""
        import transformers

        return getattr(transformers, self.model_class)(self.config)

    def load(self) -> "torch.nn.Module":
        """``from_pretrained``, which alone would fill missing weights with random ones."""
        import transformers

        model_class = getattr(transformers, self.model_class)
        options = {"config": self.config, "local_files_only": True, "output_loading_info": True}
        model, info = model_class.from_pretrained(self.folder, **options)
        require_all(info["missing_keys"], self.folder)
        return model
