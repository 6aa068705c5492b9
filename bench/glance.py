"""The first stage of the encoder: logits of its lowest layer alone, taught by the last ones'.

The layers are left as they are. What the glance finds harmless costs one layer in six, so it has to be right about
harmless only; :mod:`bench.ship` measures how often it is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.rows import Batch
from bench.student import Student, members, new_head, read_logits
from filters.models import graph

Weights = Mapping[str, npt.NDArray[np.float32]]

STEPS = 1_500
RATE = 2e-3


class Glance(nn.Module):
    """A small perceptron of each token's state, read as the other heads are."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Linear(graph.HIDDEN, graph.GLANCE_WIDTH)
        self.head = new_head(graph.GLANCE_WIDTH)

    def forward(self, lowest: Tensor, units: Tensor) -> Tensor:
        """Return ``(rows, units, labels)`` logits of what the first layer made of each token."""
        return read_logits(self.head(functional.gelu(self.wide(lowest))), members(units))[0]

    def exported(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the tensors as :mod:`filters.models.graph` names them."""
        parts = {"glance.wide": self.wide, "glance": self.head}
        return {
            f"{name}.{kind}": value.numpy() for name, part in parts.items() for kind, value in part.state_dict().items()
        }


def fit(
    original: Weights, trained: Weights, batches: Iterable[Batch], steps: int = STEPS
) -> dict[str, npt.NDArray[np.float32]]:
    """Return the glance's tensors, fitted to the last logits of ``trained``, a student's exported weights."""
    torch.manual_seed(0)
    student, glance = Student({**original, **trained}).eval(), Glance()
    optimiser = torch.optim.Adam(glance.parameters(), lr=RATE)
    loss = 0.0
    for step, batch in enumerate(islice(batches, steps)):
        with torch.no_grad():
            passed = student(batch.ids, batch.units)
        there = passed.logits[..., 0] > graph.NOTHING
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (steps - step) / (0.7 * steps))
        wrong = functional.binary_cross_entropy_with_logits(
            glance(passed.lowest, batch.units)[there], torch.sigmoid(passed.logits[there])
        )
        optimiser.zero_grad()
        torch.autograd.backward(wrong)
        optimiser.step()
        loss = 0.98 * loss + 0.02 * wrong.item()
        if step % 100 == 0:
            print(f"glance step {step} loss {loss:.4f}", flush=True)
    return glance.exported()
