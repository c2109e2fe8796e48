"""One process of a training with DeepSpeed on a CPU, which ESPnet's DeepSpeed trainer has no option for."""

import os
import sys

os.environ["DS_ACCELERATOR"] = "cpu"

import espnet2.train.deepspeed_trainer as espnets  # noqa: E402
import torch  # noqa: E402

from sitok_espnet.bin.sitok_train import main  # noqa: E402

if __name__ == "__main__":
    torch.Tensor.cuda = lambda self, *_, **__: self
    espnets.to_device = lambda batch, *_, **__: batch
    sys.exit(main())
