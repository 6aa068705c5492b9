"""Train the shipped encoder: ``python -m bench.train_encoder ../shared/data`` writes ``filters/models/encoder.*``.

All layers of MiniLM-L6 are tuned on many sets at once, labels apart, missing ones masked, while its sentence embedding
is held to the original's. No text of the data reaches the files. One epoch takes one to two hours on two cores;
a run that was cut off goes on with ``--resume``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from bench import counterfactuals, glance
from bench.data import LABELS, training
from bench.figures import take
from bench.rows import (
    BATCH_TOKENS,
    CODED,
    DISGUISED,
    LIMITS,
    LOVED,
    MAX_TOKENS,
    NAMES,
    PADDED,
    REPEATS,
    SWAPPED,
    WEIGHTS,
    Batch,
    Reader,
    epoch,
)
from bench.ship import ship
from bench.student import Passed, Student
from filters.models import build, source

SEED = 2016
RATE = 1e-4  # of the layers at its height; the heads' is ten times that
MEAN_DECAY = 0.998  # of the running mean of the weights, per step
WARM_UP, DECAY = 0.03, 0.5  # shares of the steps: linear rise at first, linear fall to zero at the end
DISTIL_EVERY = 4  # steps; the teacher's pass costs a third of one of ours
EARLY_LOSS, MARK_LOSS, DISTIL_LOSS = 0.3, 0.2, 2.0
FINISH = 1_000  # added to the seed for the rows that the first stage is fitted on
OURS = NAMES.index("jigsaw_train")  # the source whose strictness is the score's
EVERY = 300  # steps between two checkpoints


def masked(logits: Tensor, labels: Tensor, strictness: Tensor) -> Tensor:
    """Return the mean cross entropy of each text's worst unit, over the labels that are known.

    ``strictness`` (rows, labels) is what the annotators of the text's source add: what is offensive to one is not to
    others, and the score shall speak with one voice, jigsaw_train's.
    """
    known = ~torch.isnan(labels)
    heights = logits.amax(dim=1) + strictness
    loss = functional.binary_cross_entropy_with_logits(heights, labels.nan_to_num(), reduction="none")
    weight = known * WEIGHTS
    return (loss * weight).sum() / weight.sum().clamp(min=1.0)


def marked(passed: Passed, toxic: Tensor) -> Tensor:
    """Return the cross entropy of the tokens that annotators marked or left, toxicity alone."""
    known = ~torch.isnan(toxic)
    if not known.any():
        return torch.zeros(())
    return functional.binary_cross_entropy_with_logits(passed.tokens[..., 0][known], toxic[known])


def distilled(passed: Passed, original: Tensor) -> Tensor:
    """Return how far the embeddings, and their likeness to each other, are from the original's."""
    apart = 1 - (passed.embedding * original).sum(dim=1)
    ours, theirs = passed.embedding @ passed.embedding.T, original @ original.T
    return apart.mean() + 4.0 * (ours - theirs).square().mean()


def original_embedding(teacher: Student, plain: Tensor) -> Tensor:
    """Return the untouched model's embedding of the texts in one unit, as its authors pool it."""
    with torch.no_grad():
        units = torch.where((plain == 0), -1, 0)
        found: Tensor = teacher(plain, units).embedding
    return found


def rate_at(step: int, steps: int) -> float:
    """Return the learning rate's share at a step.

    >>> [round(rate_at(step, 100), 2) for step in (0, 2, 50, 80, 99)]
    [0.33, 1.0, 1.0, 0.4, 0.02]
    """
    return min(1.0, (step + 1) / (WARM_UP * steps), (steps - step) / (DECAY * steps))


class Training:
    """The student, its running mean, its optimiser and where it stands; saved and taken up again as one file."""

    def __init__(self, files: Path, steps: int, rate: float) -> None:
        weights = load_file(files / "model.safetensors")
        self.teacher = Student(weights).eval()
        self.student = Student(weights).train()
        self.mean = Student(weights).eval()
        self.strictness = torch.nn.Parameter(torch.zeros(len(NAMES), len(LABELS)))
        heads = [*self.student.head.parameters(), *self.student.early.parameters(), self.strictness]
        body = list(self.student.layers.parameters())
        groups = [{"params": body, "lr": rate, "share": rate}, {"params": heads, "lr": 10 * rate, "share": 10 * rate}]
        self.optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
        self.steps, self.step = steps, 0

    def learn(self, batch: Batch) -> dict[str, float]:
        """Take one step; return its losses."""
        for group in self.optimiser.param_groups:
            group["lr"] = group["share"] * rate_at(self.step, self.steps)
        passed = self.student(batch.ids, batch.units)
        strictness = torch.where((batch.sources == OURS)[:, None], 0.0, self.strictness[batch.sources])
        losses = {
            "labels": masked(passed.logits, batch.labels, strictness),
            "early": EARLY_LOSS * masked(passed.early, batch.labels, strictness),
            "marks": MARK_LOSS * marked(passed, batch.toxic),
        }
        if self.step % DISTIL_EVERY == 0:
            losses["distil"] = DISTIL_LOSS * distilled(passed, original_embedding(self.teacher, batch.plain))
        self.optimiser.zero_grad()
        torch.autograd.backward(torch.stack(list(losses.values())).sum())
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimiser.step()
        self.step += 1
        self._follow()
        return {name: value.item() for name, value in losses.items()}

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the running mean towards the student; it is what ships, being better than any one step."""
        kept = min(MEAN_DECAY, self.step / (self.step + 10))
        for mean, now in zip(self.mean.parameters(), self.student.parameters(), strict=True):
            mean.lerp_(now, 1 - kept)

    def begin_with(self, path: Path) -> None:
        """Take the layers and heads of an earlier run's checkpoint; the optimiser and its schedule begin anew."""
        earlier = torch.load(path, weights_only=True)["student"]  # noqa: TID251 - a checkpoint of our own, tensors only
        self.student.load_state_dict(earlier)
        self.mean.load_state_dict(earlier)

    def save(self, path: Path) -> None:
        """Write everything that going on needs."""
        state = {
            "student": self.student.state_dict(),
            "mean": self.mean.state_dict(),
            "strictness": self.strictness.detach(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
        }
        torch.save(state, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)

    def resume(self, path: Path) -> None:
        """Take up a run that was saved."""
        state = torch.load(path, weights_only=True)  # noqa: TID251 - a checkpoint of our own, tensors only
        self.student.load_state_dict(state["student"])
        self.mean.load_state_dict(state["mean"])
        self.strictness.data.copy_(state["strictness"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = int(state["step"])


def batches(data: Path, files: Path, seed: int) -> Iterator[Batch]:
    """Yield batches, epoch after epoch."""
    by_source, _ = training(data)
    by_source[counterfactuals.NAME] = counterfactuals.sentences()
    tokenizer = Tokenizer.from_file(str(files / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    reader = Reader(tokenizer)
    number = 0
    while True:
        yield from epoch(by_source, reader, seed + number)
        number += 1
        print(f"epoch {number} ends", flush=True)


@dataclass(frozen=True)
class Run:
    """What a run is asked: see the options of the same names."""

    steps: int
    rate: float
    seed: int
    resume: bool
    start: Path | None


def train(data: Path, folder: Path, chosen: Run) -> Path:
    """Train for that many steps; return the file with the trained weights, float32."""
    torch.manual_seed(chosen.seed)
    folder.mkdir(parents=True, exist_ok=True)
    files, checkpoint, steps = source.find(), folder / "checkpoint.pt", chosen.steps
    run = Training(files, steps, chosen.rate)
    if chosen.start is not None:
        run.begin_with(chosen.start)
    if chosen.resume:
        run.resume(checkpoint)
    began_s, tokens, skipped = time.monotonic(), 0, run.step
    means: dict[str, float] = {}
    for number, batch in enumerate(batches(data, files, chosen.seed)):
        if number < skipped:
            continue
        if run.step >= steps:
            break
        for name, value in run.learn(batch).items():
            means[name] = value if name not in means else 0.98 * means[name] + 0.02 * value
        tokens += int((batch.units >= 0).sum())
        if run.step % 20 == 0:
            told = " ".join(f"{name} {value:.4f}" for name, value in means.items())
            print(f"step {run.step} {tokens / (time.monotonic() - began_s):.0f} tokens/s {told}", flush=True)
        if run.step % EVERY == 0:
            run.save(checkpoint)
    run.save(checkpoint)
    save_file(run.mean.exported(), folder / "trained.safetensors")
    return folder / "trained.safetensors"


def finish(data: Path, trained: Sequence[Path], target: Path, seed: int) -> Path:
    """Write the mean of the runs' weights with a first stage fitted to it; return ``target``."""
    files = source.find()
    runs = [load_file(path) for path in trained]
    mean = {name: np.stack([run[name] for run in runs]).mean(axis=0) for name in runs[0]}
    first = glance.fit(load_file(files / "model.safetensors"), mean, batches(data, files, seed))
    save_file({**mean, **first}, target)
    return target


FIGURES = ("thresholds", "accuracy", "spans")
"""What is measured of new weights: the thresholds are chosen first, then the rest looks at the report rows once."""


def facts(chosen: Run, note: str) -> dict[str, object]:
    """Return how the weights came about, for the manifest."""
    return {
        "command": "python -m bench.train_encoder ../shared/data",
        "seed": chosen.seed,
        "steps": chosen.steps,
        "rates": {
            "layers": chosen.rate,
            "heads": 10 * chosen.rate,
            "warm_up": WARM_UP,
            "decay": DECAY,
            "mean": MEAN_DECAY,
        },
        "batch_tokens": BATCH_TOKENS,
        "text_tokens": MAX_TOKENS,
        "rows_of_a_source_per_epoch": LIMITS,
        "repeats": REPEATS,
        "losses": {"early": EARLY_LOSS, "marks": MARK_LOSS, "distil": DISTIL_LOSS, "distil_every": DISTIL_EVERY},
        "augmented": {"disguised": DISGUISED, "padded": PADDED, "swapped": SWAPPED, "loved": LOVED, "coded": CODED},
        **({"note": note} if note else {}),
    }


def measure(data: Path, folder: Path) -> None:
    """Choose the policy's thresholds, measure, and write the figures into README, figures and manifest."""
    for name in FIGURES:
        extra = ["--write"] if name == "thresholds" else []
        subprocess.run([sys.executable, "-m", f"bench.{name}", str(data), *extra], check=True)
    figures = take(FIGURES)
    path = folder / build.MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["figures"] = {name: figures[name] for name in FIGURES}
    path.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, default=Path("bench/out/training"), help="checkpoints go here")
    parser.add_argument("--steps", type=int, default=4_200)
    parser.add_argument("--rate", type=float, default=RATE, help="the layers' learning rate at its height")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument("--start", type=Path, help="begin with the layers of this checkpoint instead of MiniLM's")
    parser.add_argument("--mean-with", type=Path, action="append", default=[], help="weights of an earlier run")
    parser.add_argument("--note", default="", help="what else the manifest should say of this run")
    asked = parser.parse_args()
    chosen = Run(asked.steps, asked.rate, asked.seed, asked.resume, asked.start)
    trained = train(asked.data, asked.work, chosen)
    trained = finish(asked.data, [trained, *asked.mean_with], asked.work / "finished.safetensors", asked.seed + FINISH)
    ship(trained, asked.data, source.FOLDER, facts(chosen, asked.note))
    measure(asked.data, source.FOLDER)


if __name__ == "__main__":
    main()
