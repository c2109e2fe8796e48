"""What local/ablate.py runs: the experiments of the rows, the recipe's commands that make them, and what is kept."""

from __future__ import annotations

import hashlib
import logging
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

from ablation_rows import Row, read_row, row_config, scale_file
from ablation_table import ROW
from merge_config import merge_files, read_yaml, write_config

from sitok_espnet.checkpoint import best_checkpoint
from sitok_espnet.errors import SiTokError
from sitok_espnet.evaluate.files import read_json, write_json

MEL_RATE = Fraction(50)  # frames a second
CONFIG, NOTES = "train_config.yaml", "ablation.json"
# Options of run.sh that say where and how fast a stage runs, and those that matter from stage 7 on.
HOW = frozenset("ngpu nj inference_nj num_nodes gpu_inference python downloads".split())
SCORING = frozenset("test_sets inference_model vocoder_config vocoder_args steps temperature cfg_scale".split())
# What the rows take for granted of base + scale (conf/ablation/README.md): slot or option, its value.
ASSUMED = {"quantizer": "ema_vq", "decoder": "flow_matching", "model_conf.stacking_factor": 4}


@dataclass(frozen=True)
class Settings:
    """What all rows of a call have in common; paths of the recipe are relative to it, as its own scripts take them.

    Attributes:
        recipe: the recipe's folder.
        base: full training YAML.
        directory: folder of the overlays.
        scale: name of a scale in it.
        reference: row that the others are compared with.
        exp: folder of the experiments.
        stats: mel statistics of stage 4.
        changes: ``KEY=VALUE``, laid over everything.
        nbpe: text pieces of the rows that need others than the recipe's, by name.
        metrics: of stage 8.
        recipe_args, synth_args: more options for run.sh, and for its ``--synth_args``.

    Raises SiTokError: ``recipe_args`` are not pairs of --NAME VALUE.
    """

    recipe: Path
    base: str
    directory: Path
    scale: str
    reference: str
    exp: str
    stats: str
    changes: tuple[str, ...] = ()
    nbpe: Mapping[str, int] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()
    recipe_args: tuple[str, ...] = ()
    synth_args: str = ""

    def __post_init__(self):
        names = self.recipe_args[::2]
        if len(self.recipe_args) % 2 or not all(name.startswith("--") for name in names):
            raise SiTokError(f"--recipe_args {shlex.join(self.recipe_args)}: options of run.sh are --NAME VALUE")

    def options(self) -> dict[str, str]:
        """``recipe_args`` that may change a score, by name; the last one of a name counts, as in run.sh."""
        names = (name[2:].replace("-", "_") for name in self.recipe_args[::2])
        return {name: value for name, value in zip(names, self.recipe_args[1::2], strict=True) if name not in HOW}

    def check_base(self) -> None:
        """SiTokError where base + scale + ``changes`` are not what the rows take for granted."""
        config = merge_files(self.recipe / self.base, [scale_file(self.directory, self.scale)], self.changes)
        for name, wanted in ASSUMED.items():
            slot, _, key = name.partition(".")
            found = (config.get(slot) or {}).get(key, wanted) if key else config.get(slot, wanted)
            if found != wanted:
                raise SiTokError(
                    f"--base {self.base} (with --scale {self.scale} and --set) has {name} = {found}: the rows of "
                    f"{self.directory} say what they change of a base with {name} = {wanted}; choose such a base"
                )


@dataclass(frozen=True)
class Experiment:
    """One training.

    Attributes:
        tag: its ``--sitok_tag``.
        config: the merged YAML.
        nbpe: text pieces, None for the recipe's number.
        before: the training whose weights it starts from.
        overlay: the row's YAML, for the comment of the merged file.
    """

    tag: str
    config: Mapping[str, Any]
    nbpe: int | None
    before: Experiment | None
    overlay: Path

    def chain(self) -> list[Experiment]:
        """The trainings that it needs, itself last."""
        return [*(self.before.chain() if self.before else ()), self]


@dataclass
class Plan:
    """Rows and their experiments, and the commands that make them."""

    settings: Settings
    runner: Callable[..., subprocess.CompletedProcess] = subprocess.run
    experiments: dict[str, Experiment] = field(default_factory=dict)

    def experiment_dir(self, experiment: Experiment) -> Path:
        """Where stage 5 puts it."""
        return self.settings.recipe / self.settings.exp / f"sitok_{experiment.tag}"

    def row_dir(self, row: Row) -> Path:
        """Where the scores of a row are kept: experiments are scored more than once."""
        return self.settings.recipe / self.settings.exp / "rows" / self.settings.scale / row.name

    def row(self, name: str) -> Row:
        """A row by its name."""
        return read_row(name, self.settings.directory)

    def experiment(self, row: Row) -> Experiment:
        """The experiment of a row: one that has its YAML already, else a new one named after the row."""
        settings = self.settings
        before = self.experiment(self.row(row.after.row)) if row.after else None
        config = row_config(row, settings.recipe / settings.base, settings.directory, settings.scale, settings.changes)
        if before:
            best = Path(settings.exp, f"sitok_{before.tag}", best_checkpoint(before.config))
            config["init_param"] = [f"{best}:{part}:{part}" for part in row.after.load]
        tag = f"{Path(settings.exp).name}_{settings.scale}_{row.name.replace('/', '_')}"
        nbpe = settings.nbpe.get(row.name)
        tag = self._known(config, nbpe) or tag
        made = Experiment(tag, config, nbpe, before, row.path)
        folder = self.experiment_dir(made)
        if (folder / CONFIG).is_file() and not self._same_training(folder, config, nbpe):
            raise SiTokError(
                f"{folder} was trained with another {CONFIG}, other text pieces or other options than --base, --scale, "
                "--set, --nbpe, --stats_dir and --recipe_args make now: choose another --exp, or remove that folder"
            )
        return self.experiments.setdefault(tag, made)

    def training_options(self, nbpe: int | None) -> dict:
        """What decides a training beside its YAML; kept in its folder."""
        options = {name: value for name, value in self.settings.options().items() if name not in SCORING}
        return {"nbpe": nbpe, "stats_dir": self.settings.stats, "recipe_args": options}

    def _same_training(self, folder: Path, config: Mapping[str, Any], nbpe: int | None) -> bool:
        """Whether an experiment's folder was made for this YAML with these options."""
        if not (folder / CONFIG).is_file() or not (folder / NOTES).is_file():
            return False
        same = read_json(folder / NOTES)["options"] == self.training_options(nbpe)
        return same and read_yaml(folder / CONFIG) == config

    def _known(self, config: Mapping[str, Any], nbpe: int | None) -> str | None:
        """Tag of the experiment with this YAML, planned or on disk."""
        for tag, experiment in self.experiments.items():
            if (experiment.config, experiment.nbpe) == (config, nbpe):
                return tag
        folders = sorted((self.settings.recipe / self.settings.exp).glob("sitok_*"))
        return next((f.name.removeprefix("sitok_") for f in folders if self._same_training(f, config, nbpe)), None)

    def system(self, row: Row) -> str:
        """The system of the score table that the row is about."""
        return "reconstruction_cfg" if "cfg_scale" in row.inference else "reconstruction"

    def key(self, row: Row, experiment: Experiment) -> dict:
        """Everything that decides a row's scores; compared before a row is skipped."""
        return {
            "config": dict(experiment.config),
            "inference": dict(row.inference),
            "synth_args": self.settings.synth_args,
            **self.training_options(experiment.nbpe),
            "recipe_args": self.settings.options(),
        }

    def _systems(self, row: Row) -> list[str]:
        return [*(("original", "copy_synthesis") if row.name == self.settings.reference else ()), self.system(row)]

    def trained(self, experiment: Experiment) -> bool:
        """Whether stage 5 has finished it, from the weights that the training before it has now."""
        if not (self.experiment_dir(experiment) / "train.done").is_file():
            return False
        return not experiment.before or (self.trained(experiment.before) and not self._outdated(experiment))

    def _start(self, experiment: Experiment) -> str | None:
        """Hash of the weights that an experiment starts from, None without a training before it."""
        if not experiment.before:
            return None
        return file_hash(self.experiment_dir(experiment.before) / best_checkpoint(experiment.before.config))

    def _outdated(self, experiment: Experiment) -> bool:
        """Whether it was begun from other weights than the training before it has now."""
        folder = self.experiment_dir(experiment)
        begun = (folder / NOTES).is_file() and (folder / "checkpoint.pth").is_file()
        return begun and read_json(folder / NOTES)["start"] != self._start(experiment)

    def scored(self, row: Row, experiment: Experiment) -> bool:
        """Whether the row's scores are there and are of these settings and no older training."""
        return self.why_not_scored(row, experiment) is None

    def why_not_scored(self, row: Row, experiment: Experiment) -> str | None:
        """What is missing of a row, None where it is finished."""
        done = self.row_dir(row) / ROW
        if not self.trained(experiment):
            return "not trained"
        return self._misfit(done, row, experiment) if done.is_file() else "not scored"

    def _misfit(self, done: Path, row: Row, experiment: Experiment) -> str | None:
        """Why finished scores, of whichever row, are not what this row needs; None where they are."""
        content, key = read_json(done), self.key(row, experiment)
        if other := sorted(name for name in key if content["key"].get(name) != key[name]):
            return f"scores of other settings ({', '.join(other)})"
        if missing := [name for name in self.settings.metrics if name not in content["metrics"]]:
            return f"scored without {', '.join(missing)}"
        if not set(self._systems(row)) <= set(content["systems"]):
            return f"scored without {', '.join(self._systems(row))}"
        trained = self.experiment_dir(experiment) / "train.done"
        return "scores of an earlier training" if trained.stat().st_mtime > done.stat().st_mtime else None

    def command(self, experiment: Experiment, stage: int, *options: str) -> list[str]:
        """run.sh for one stage of an experiment."""
        settings = self.settings
        config = Path(settings.exp, f"sitok_{experiment.tag}", CONFIG)
        command = ["./run.sh", *settings.recipe_args, "--stage", str(stage), "--stop_stage", str(stage)]
        command += ["--train_config", str(config), "--sitok_tag", experiment.tag, "--expdir", settings.exp]
        command += ["--sitok_stats_dir", settings.stats]
        command += [] if experiment.nbpe is None else ["--nbpe", str(experiment.nbpe)]
        return [*command, *options]

    def train_commands(self, experiment: Experiment) -> list[list[str]]:
        """Stage 5, and stage 3 before it where the experiment's text pieces are not there."""
        folder = self.settings.options().get("token_listdir", "data/token_list")
        made = (self.settings.recipe / folder).glob("bpe_*/tokens.txt")
        missing = experiment.nbpe is not None and not any(
            re.fullmatch(f"bpe_[a-z]+{experiment.nbpe}", path.parent.name) for path in made
        )
        return [*([self.command(experiment, 3)] if missing else []), self.command(experiment, 5)]

    def score_commands(self, row: Row, experiment: Experiment) -> list[list[str]]:
        """Stages 7 and 8 with the row's systems; a continuous model has no tokens to dump."""
        systems = "--systems " + " ".join(self._systems(row))
        options = [value for key, number in row.inference.items() for value in (f"--{key}", f"{number:g}")]
        options += ["--synth_args", f"{systems} {self.settings.synth_args}".strip()]
        metrics = " ".join(self.settings.metrics)
        options += ["--score_args", f"{systems} --metrics {metrics} --judge_all --spectrograms 0"]
        dump = [] if experiment.config.get("quantizer") == "identity" else [self.command(experiment, 7)]
        return [*dump, self.command(experiment, 8, *options)]

    def train(self, experiment: Experiment) -> None:
        """Train an experiment; nothing if that is done."""
        if self.trained(experiment):
            return
        folder = self.experiment_dir(experiment)
        overlays = [scale_file(self.settings.directory, self.settings.scale), experiment.overlay]
        names = [path.relative_to(self.settings.directory.parent.parent) for path in overlays]
        if self._outdated(experiment):
            raise SiTokError(
                f"{folder} was begun from other weights than {experiment.before.tag} has now: remove {folder}, then it "
                "is trained again"
            )
        spent = self.seconds(experiment)
        notes = {"options": self.training_options(experiment.nbpe), "start": self._start(experiment)}
        write_json(folder / NOTES, {**notes, "train_seconds": spent})
        write_config(folder / CONFIG, experiment.config, self.settings.base, names, self.settings.changes)
        began = time.monotonic()
        try:
            for command in self.train_commands(experiment):
                self._call(command, experiment)
        finally:  # a training that is interrupted and resumed has cost both parts
            seconds = spent + time.monotonic() - began
            write_json(folder / NOTES, {**notes, "train_seconds": seconds})

    def seconds(self, experiment: Experiment) -> float:
        """Wall-clock seconds of stage 5 so far, without the trainings before it."""
        notes = self.experiment_dir(experiment) / NOTES
        return read_json(notes)["train_seconds"] if notes.is_file() else 0.0

    def score(self, row: Row, experiment: Experiment) -> None:
        """Tokens, resynthesis and scores of a row; keeps its results.json, one for every test set."""
        folder = self.row_dir(row)
        shutil.rmtree(folder, ignore_errors=True)
        for done in sorted((self.settings.recipe / self.settings.exp / "rows").rglob(ROW)):
            if self._misfit(done, row, experiment) is None:  # the base under another name
                logging.info("%s has the scores of %s", row.name, done.parent)
                for path in sorted(done.parent.iterdir(), key=lambda path: path.name == ROW):  # that file last
                    write_json(folder / path.name, read_json(path))
                return
        began = time.time()
        for command in self.score_commands(row, experiment):
            self._call(command, experiment)
        results = [
            path
            for path in sorted(self.experiment_dir(experiment).glob("eval/*/results.json"))
            if path.stat().st_mtime >= began - 2  # not those of a test set that is no longer asked for
        ]
        if not results:
            raise SiTokError(f"stage 8 left no results.json in {self.experiment_dir(experiment)}/eval")
        for path in results:
            write_json(folder / f"{path.parent.name}.results.json", read_json(path))
        content = {
            "key": self.key(row, experiment),
            "metrics": list(self.settings.metrics),
            "experiment": experiment.tag,
            "system": self.system(row),
            "systems": self._systems(row),
            "sets": [path.parent.name for path in results],
            "train_seconds": sum(self.seconds(part) for part in experiment.chain()),
            "ctc_fit": self.ctc_fit(experiment),
        }
        write_json(folder / ROW, content)  # last: the row is finished

    def ctc_fit(self, experiment: Experiment) -> float | None:
        """Share of the training transcripts that fit the tokens (stage 3), None without a CTC branch or pieces."""
        trained = read_yaml(self.experiment_dir(experiment) / "config.yaml")
        pieces = trained.get("bpemodel")
        fit = self.settings.recipe / Path(pieces).parent / "ctc_fit.json" if pieces else None
        if fit is None or trained.get("ctc") is None or not fit.is_file():
            return None
        rate = float(MEL_RATE / trained["model_conf"].get("stacking_factor", 4))
        return read_json(fit)["share_of_utterances_by_token_rate_hz"].get(f"{rate:g}")

    def _call(self, command: Sequence[str], experiment: Experiment) -> None:
        log = self.experiment_dir(experiment) / "ablate.log"
        logging.info("%s (log: %s)", shlex.join(command), log)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as out:
            done = self.runner(command, cwd=self.settings.recipe, stdout=out, stderr=subprocess.STDOUT)
        if done.returncode:
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            reason = next((line for line in reversed(lines) if "error" in line.lower()), lines[-1] if lines else "")
            raise SiTokError(f"{shlex.join(command)} ended with status {done.returncode}: {reason} (log: {log})")


def file_hash(path: Path) -> str | None:
    """16 hex digits of a file's content, None where it does not exist."""
    if not path.is_file():
        return None
    stat = path.stat()
    return _hash(path, stat.st_mtime_ns, stat.st_size)


@lru_cache
def _hash(path: Path, _time: int, _size: int) -> str:
    """Checkpoints are large: hashed once as long as their time and size stay."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 24):
            digest.update(block)
    return digest.hexdigest()[:16]
