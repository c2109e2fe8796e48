"""The line an epoch that a recipe shows: read from ESPnet's own log messages."""

import datetime
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from espnet2.train.reporter import Reporter
from follow_training import Reader

SCRIPT = Path(__file__).parents[2] / "local/follow_training.py"


def espnet_message():
    """What ESPnet's reporter writes for these values; its format may change with its version."""
    reporter = Reporter()
    reporter.set_epoch(3)
    for phase, loss in (("train", 0.5), ("valid", 0.625)):
        with reporter.observe(phase) as sub:
            for perplexity in (60.0, 80.0):
                sub.register(
                    {"loss": loss + 1, "loss_decoder": loss, "loss_ctc": 2345.0, "perplexity_0": perplexity,
                     "perplexity_1": 20.0},
                    1,
                )  # fmt: skip
                sub.next()
    reporter.stats[3]["train"]["time"] = datetime.timedelta(seconds=61)
    return reporter.log_message()


def stamped(clock, message):
    return f"[host] 2026-01-02 {clock},123 (trainer:300) INFO: {message}\n"


def test_an_epoch_is_read_from_espnets_messages():
    reader = Reader()
    assert reader.read(stamped("10:00:00", "3/22epoch started. Estimated time to finish: 5 minutes")) is None
    assert reader.read(stamped("10:00:10", "3epoch:train:1-10batch: loss=1.2, time=3")) is None
    epoch = reader.read(stamped("10:01:30", espnet_message()))
    assert (epoch.number, epoch.last, epoch.seconds) == (3, 22, 90.0)
    assert epoch.train["loss_decoder"] == 0.5 and epoch.valid["loss_decoder"] == 0.625
    assert epoch.line() == (
        "epoch 3/22  decoder 0.500 (dev 0.625)  ctc 2345.000 (dev 2345.000)  "
        "codes in use 45 (perplexity)  90 s  28 min left"
    )


def test_a_training_without_a_decoder_shows_its_loss():
    line = "1epoch results: [train] loss=2.500, acc=0.1, time=3 seconds, [valid] loss=3.000, time=1 second"
    assert Reader().read(line).line() == "epoch 1/1  loss 2.500 (dev 3.000)"


def test_it_follows_until_it_is_told_to_stop_and_misses_nothing(tmp_path):
    """Of the new log only: the one that is there is renamed by the launcher."""
    log = tmp_path / "train.log"
    log.write_text("9epoch results: [train] loss=9.5\n")
    earlier = f"{log.stat().st_dev}:{log.stat().st_ino}"
    command = [sys.executable, str(SCRIPT), str(log), str(os.getpid()), earlier]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    time.sleep(0.3)
    log.rename(tmp_path / "train.1.log")
    log.write_text(stamped("10:00:00", "1/2epoch started"))
    with open(log, "a") as file:
        file.write("1epoch results: [train] loss=2.5\n2epoch results: ")
        file.flush()
        assert process.stdout.readline() == "epoch 1/2  loss 2.500\n"
        file.write("[train] loss=1.5\n")
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=20)
    assert out.splitlines() == ["epoch 2/2  loss 1.500"] and process.returncode == 0


def test_it_ends_with_the_recipe(tmp_path):
    recipe = subprocess.Popen(["sleep", "0.5"])
    follower = subprocess.Popen([sys.executable, str(SCRIPT), str(tmp_path / "none.log"), str(recipe.pid)])
    recipe.wait()
    assert follower.wait(timeout=20) == 0
