"""Moving average of a model's weights during training: the average is validated, saved and packed (ours)."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer

from sitok_espnet.errors import SiTokError

AVERAGE = "weight_average"  # in the optimizer's state of a parameter: its average, or the weight itself while swapped
UPDATES = "weight_average_updates"  # in the optimizer's first group
SWAPPED = "weight_average_in_model"
ATTRIBUTE = "sitok_weight_average"  # of the optimizer: its average lives as long as it does


class WeightAverage:
    """Averages ``a <- d a + (1 - d) w`` after every optimizer step, with d = min(decay, (1 + n) / (10 + n)).

    The averages are part of the optimizer's state, so that ESPnet's checkpoint keeps them. Between epochs they stand in
    the model's place, and the weights themselves in theirs: validation, the checkpoint of the epoch and whatever is
    packed are the average, and a resumed training swaps them back, bit by bit.

    Args:
        optimizer: its steps move the averages.
        parameters: those that are averaged; the others stay as they are trained.
        decay: d, in (0, 1).

    Raises:
        SiTokError: a decay that is none.
    """

    def __init__(self, optimizer: Optimizer, parameters: Iterable[nn.Parameter], decay: float) -> None:
        if isinstance(decay, bool) or not isinstance(decay, int | float) or not 0 < decay < 1:
            raise SiTokError(f"--weight_average_decay must be a number between 0 and 1, or null, not {decay!r}")
        self.decay = float(decay)
        self._optimizer = optimizer
        self._parameters = list(parameters)
        optimizer.register_step_post_hook(lambda *_: self.update())
        setattr(optimizer, ATTRIBUTE, self)

    @staticmethod
    def of(optimizer: Optimizer) -> "WeightAverage | None":
        """The average that follows an optimizer, if there is one.

        Raises:
            SiTokError: there is none, but the model was resumed with averages in place of its weights.
        """
        average = getattr(optimizer, ATTRIBUTE, None)
        if average is None and optimizer.param_groups[0].get(SWAPPED):
            raise SiTokError(
                "the checkpoint.pth of this training has averaged weights: resume it with the --weight_average_decay "
                "that it had, or train into another folder"
            )
        return average

    @property
    def _group(self) -> dict:
        return self._optimizer.param_groups[0]

    @torch.no_grad()
    def update(self) -> None:
        """Move the averages towards the weights, once a step."""
        if self._group.get(SWAPPED):
            raise RuntimeError("the averaged weights were trained: swap them out first")
        updates = self._group.get(UPDATES, 0)
        decay = min(self.decay, (1 + updates) / (10 + updates))
        for parameter in self._parameters:
            # Frozen ones have no state. It is made after the optimizer's first step, which wants to find it empty.
            if state := self._optimizer.state.get(parameter):
                if AVERAGE not in state:
                    state[AVERAGE] = parameter.detach().clone()
                state[AVERAGE].lerp_(parameter, 1 - decay)
        self._group[UPDATES] = updates + 1

    @torch.no_grad()
    def put(self, averaged: bool) -> None:
        """Have the averages in the model, or the weights themselves; nothing happens where that is so already."""
        if self._group.get(SWAPPED, False) == averaged:
            return
        for parameter in self._parameters:
            state = self._optimizer.state.get(parameter) or {}
            if AVERAGE in state:
                weight = parameter.detach().clone()
                parameter.copy_(state[AVERAGE])
                state[AVERAGE] = weight
        self._group[SWAPPED] = averaged
