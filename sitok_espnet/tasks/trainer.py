"""ESPnet's trainer, with averaged weights."""

from espnet2.train.trainer import Trainer

from sitok_espnet.tasks.weight_average import WeightAverage


class SiTokTrainer(Trainer):
    """Trains the weights, and leaves their average in the model when an epoch's steps are done."""

    @classmethod
    def train_one_epoch(cls, model, iterator, optimizers, *args, **kwargs) -> bool:
        """One epoch of steps; the arguments are ESPnet's."""
        averages = [average for optimizer in optimizers if (average := WeightAverage.of(optimizer))]
        for average in averages:
            average.put(False)
        all_steps_are_invalid = super().train_one_epoch(model, iterator, optimizers, *args, **kwargs)
        for average in averages:
            average.put(True)
        return all_steps_are_invalid
