"""The encoder as it is trained: MiniLM whose units look left only, with logits of its tokens. Mirrors ``graph.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.data import LABELS
from filters.models import graph


class Layer(nn.Module):
    """One transformer layer; parameters are named as in the checkpoint."""

    def __init__(self, weights: Mapping[str, Tensor], prefix: str) -> None:
        super().__init__()
        self.query, self.key, self.value = (
            _linear(weights, f"{prefix}attention.self.{part}") for part in ("query", "key", "value")
        )
        self.mixed = _linear(weights, f"{prefix}attention.output.dense")
        self.mixed_norm = _norm(weights, f"{prefix}attention.output.LayerNorm")
        self.wide = _linear(weights, f"{prefix}intermediate.dense")
        self.narrow = _linear(weights, f"{prefix}output.dense")
        self.norm = _norm(weights, f"{prefix}output.LayerNorm")

    def forward(self, state: Tensor, bias: Tensor) -> Tensor:
        """Return the next ``(rows, tokens, hidden)``; ``bias`` is 0 where a token is seen and very low elsewhere."""
        rows, tokens, _ = state.shape
        query, key, value = (
            part(state).view(rows, tokens, graph.NUM_HEADS, -1).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        seen = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        state = self.mixed_norm(state + self.mixed(seen.transpose(1, 2).reshape(rows, tokens, -1)))
        found: Tensor = self.norm(state + self.narrow(functional.gelu(self.wide(state))))
        return found


@dataclass(frozen=True)
class Passed:
    """``embedding`` (rows, hidden), unit length; ``logits`` (rows, units, labels); ``tokens`` (rows, tokens, labels).

    ``early`` are the logits that the lower half of the layers gives, ``lowest`` is what the first one makes of each
    token, (rows, tokens, hidden).
    """

    embedding: Tensor
    logits: Tensor
    tokens: Tensor
    early: Tensor
    lowest: Tensor


class Student(nn.Module):
    """MiniLM over units: a token sees its own unit and those to the left. The words' table stays as it was."""

    def __init__(self, weights: Mapping[str, npt.NDArray[np.float32]]) -> None:
        super().__init__()
        tensors = {name: torch.tensor(value) for name, value in weights.items()}
        table = (
            tensors["embeddings.position_embeddings.weight"] + tensors["embeddings.token_type_embeddings.weight"][:1]
        )
        self.places: Tensor
        self.words: Tensor
        self.register_buffer("words", tensors["embeddings.word_embeddings.weight"])
        self.register_buffer("places", table)
        self.first = _norm(tensors, "embeddings.LayerNorm").requires_grad_(requires_grad=False)
        self.layers = nn.ModuleList(Layer(tensors, f"encoder.layer.{number}.") for number in range(graph.LAYERS))
        self.head = new_head(graph.HIDDEN * len(graph.POOLED))
        self.early = new_head(graph.HIDDEN)
        for name, head in (("heads", self.head), ("early", self.early)):
            if f"{name}.weight" in tensors:
                head.load_state_dict({kind: tensors[f"{name}.{kind}"] for kind in ("weight", "bias")})
        self.dropout = nn.Dropout(0.1)

    def forward(self, ids: Tensor, units: Tensor) -> Passed:
        """Return the pass over ``(rows, tokens)`` ids and the number of each token's unit; -1 is padding."""
        there = units >= 0
        reader = torch.where(there, units, torch.full_like(units, 10_000))
        seen = (units[:, None, :] <= reader[:, :, None]) & there[:, None, :]
        bias = torch.where(seen, 0.0, float("-inf"))[:, None]
        state = self.first(self.words[ids] + self.places[: ids.shape[1]])
        states = []
        for layer in self.layers:
            state = layer(state, bias)
            states.append(state)
        mean = (state * there[..., None]).sum(dim=1)
        joined = torch.cat([states[number - 1] for number in graph.POOLED], dim=2)
        member = members(units)
        logits, tokens = read_logits(self.head(self.dropout(joined)), member)
        early, _ = read_logits(self.early(self.dropout(states[graph.STAGES["early"] - 1])), member)
        return Passed(functional.normalize(mean, dim=1), logits, tokens, early, states[0])

    def exported(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return what was trained, named as in the checkpoint, and the heads as ``heads.*``."""
        found = {}
        for number, layer in enumerate(self.layers):
            for name, value in layer.state_dict().items():
                part, kind = name.rsplit(".", 1)
                found[f"encoder.layer.{number}.{NAMES[part]}.{kind}"] = value.numpy()
        for name, head in (("heads", self.head), ("early", self.early)):
            found |= {f"{name}.{kind}": value.numpy() for kind, value in head.state_dict().items()}
        return found


def members(units: Tensor) -> Tensor:
    """Return ``(rows, units, tokens)``: whether a token stands in a unit."""
    found: Tensor = units[:, None, :] == torch.arange(int(units.max()) + 1)[None, :, None]
    return found


def read_logits(found: Tensor, member: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``(rows, units, labels)``: the mean of one half over a unit's tokens plus the peak of the other half."""
    level, peak = found.chunk(2, dim=2)
    count = member.sum(dim=2, keepdim=True)
    mean = member.float() @ level / count.clamp(min=1)
    height = peak[:, None].masked_fill(~member[..., None], graph.NOTHING).amax(dim=2)
    return (mean + height).masked_fill(count == 0, graph.NOTHING), peak


def new_head(width: int) -> nn.Linear:
    """Return an untrained head: a level and a peak per label."""
    made = nn.Linear(width, 2 * len(LABELS))
    nn.init.normal_(made.weight, std=0.01)
    nn.init.constant_(made.bias, -1.0)
    return made


NAMES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "mixed": "attention.output.dense",
    "mixed_norm": "attention.output.LayerNorm",
    "wide": "intermediate.dense",
    "narrow": "output.dense",
    "norm": "output.LayerNorm",
}


def _linear(weights: Mapping[str, Tensor], name: str) -> nn.Linear:
    weight = weights[f"{name}.weight"]
    made = nn.Linear(weight.shape[1], weight.shape[0])
    made.load_state_dict({"weight": weight, "bias": weights[f"{name}.bias"]})
    return made


def _norm(weights: Mapping[str, Tensor], name: str) -> nn.LayerNorm:
    made = nn.LayerNorm(weights[f"{name}.weight"].shape[0], eps=graph.EPSILON)
    made.load_state_dict({"weight": weights[f"{name}.weight"], "bias": weights[f"{name}.bias"]})
    return made
