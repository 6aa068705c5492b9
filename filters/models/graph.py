"""Write MiniLM as an ONNX graph straight from its weights: int8 weights, deterministic bytes, no torch.

Weights are int8 with one scale a row and become float when the session loads; activations stay float, so nothing that
stands beside a token can change its scale. Integer products with one scale a row were measured too: a quarter faster
on a CPU without VNNI, but 0.990 in cosine to the original against 0.999 (``bench/encoder.py`` prints the shipped
figures).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, checker, helper, numpy_helper

Array = npt.NDArray[Any]
Weights = Mapping[str, Array]

MICROSOFT = "com.microsoft"
LAYERS = 6
HIDDEN = 384
NUM_HEADS = 12
EPSILON = 1e-12  # layer_norm_eps in the model's config.json
EARLY = 3
"""The layer after which most of what people say is settled."""

POOLED = tuple(range(EARLY + 1, LAYERS + 1))
"""Layers whose states the later logits read, side by side."""

NOTHING = -1e4
"""A logit lower than any: of a token that a unit does not have."""


@dataclass
class Graph:
    """The nodes and tensors written so far."""

    nodes: list[Any] = field(default_factory=list)
    tensors: list[Any] = field(default_factory=list)

    def tensor(self, name: str, value: Array) -> str:
        """Store ``value`` under ``name``; return the name."""
        self.tensors.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        return name

    def node(self, op: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> str:  # noqa: ANN401
        """Append one node with one output; return the output's name."""
        made = helper.make_node(op, inputs, [output], name=output, domain=domain, **attributes)
        made.attribute.sort(key=lambda attribute: attribute.name)
        self.nodes.append(made)
        return output

    def linear(self, name: str, source: str, weight: Array) -> str:
        """Multiply ``source`` by the transpose of a ``(n, k)`` weight kept in int8."""
        quantised, scales = quantise(weight)
        table = self.tensor(f"{name}.q", quantised.T)
        wide = self.node("Cast", [table], f"{name}.float", to=TensorProto.FLOAT)
        wide = self.node("Mul", [wide, self.tensor(f"{name}.s", scales)], f"{name}.weight")
        return self.node("MatMul", [source, wide], name)


def quantise(weight: Array) -> tuple[Array, Array]:
    """Return ``(n, k)`` int8 and ``(n,)`` float32 scales, so that ``weight`` is about their product.

    >>> q, s = quantise(np.array([[1.0, -2.0]], dtype=np.float32))
    >>> q.tolist(), round(float(s[0]), 6)
    ([[64, -127]], 0.015748)
    """
    scales = np.maximum(np.abs(weight).max(axis=1), 1e-12) / 127.0
    return np.rint(weight / scales[:, None]).astype(np.int8), scales.astype(np.float32)


def build(weights: Weights, metadata: Mapping[str, str]) -> bytes:
    """Return the serialised model.

    Inputs: ``ids`` (1, n) int64, special tokens included; ``unit`` (n,) int64, the number of each token's unit, counted
    from 0; ``whole`` () bool. A token sees its own unit and those before it, so what follows never changes a unit.
    Outputs: ``logits`` (units, labels), ``peaks`` (n, labels), the part of the logits that each token gives, ``means``
    (units, 384) of unit length, and ``embedding`` (1, 384) of unit length over all tokens.

    A unit whose early logits are all under ``exit.logits`` is settled by the lower layers. Where all are, and ``whole``
    is false, the upper layers do not run; the embeddings are zero then. The logits do not depend on ``whole``.
    """
    graph = Graph()
    states = [_embed(graph, weights)]
    _sight(graph)
    _members(graph)
    for layer in range(EARLY):
        states.append(_layer(graph, weights, layer, states[-1]))
    early, early_peaks = _read(graph, weights, "early", states[-1])
    over = graph.node("GreaterOrEqual", [early, graph.tensor("exit.logits", weights["exit.logits"])], "over")
    over = graph.node("Cast", [over], "over.int", to=TensorProto.INT64)
    over = graph.node("ReduceMax", [over, "axis1"], "over.unit", keepdims=1)
    open_ = graph.node("Cast", [over], "open", to=TensorProto.BOOL)
    some = graph.node("Cast", [graph.node("ReduceMax", [over], "over.any", keepdims=0)], "some", to=TensorProto.BOOL)
    go_on = graph.node("Or", [some, "whole"], "go_on")
    upper, lower = Graph(), Graph()
    _upper(upper, weights, states[-1], early, open_)
    _lower(lower, early, early_peaks)
    labels = len(weights["exit.logits"])
    outputs = _outputs("", labels)
    names = [output.name for output in outputs]
    branches = {
        "then_branch": helper.make_graph(upper.nodes, "upper", [], _outputs("upper.", labels), upper.tensors),
        "else_branch": helper.make_graph(lower.nodes, "lower", [], _outputs("lower.", labels), lower.tensors),
    }
    graph.nodes.append(helper.make_node("If", [go_on], names, name="if", **branches))
    return _serialise(graph, outputs, metadata)


def _outputs(prefix: str, labels: int) -> list[Any]:
    shapes: dict[str, list[str | int | None]] = {
        "logits": ["units", labels],
        "peaks": ["tokens", labels],
        "means": ["units", HIDDEN],
        "embedding": [1, HIDDEN],
    }
    return [helper.make_tensor_value_info(prefix + name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]


def _upper(graph: Graph, weights: Weights, state: str, early: str, open_: str) -> None:
    """Write the branch of the upper layers; settled units keep their early logits."""
    states = []
    for layer in range(EARLY, LAYERS):
        state = _layer(graph, weights, layer, state)
        states.append(state)
    joined = graph.node("Concat", states, "joined", axis=2)
    late, peaks = _read(graph, weights, "heads", joined)
    graph.node("Where", [open_, late, early], "upper.logits")
    graph.node("Identity", [peaks], "upper.peaks")
    flat = graph.node("Squeeze", [state, "axis0"], "last.flat")
    graph.node("LpNormalization", [graph.node("MatMul", ["share", flat], "unit.means")], "upper.means", axis=1, p=2)
    mean = graph.node("ReduceMean", [state, "axis1"], "mean", keepdims=0)
    graph.node("LpNormalization", [mean], "upper.embedding", axis=1, p=2)


def _lower(graph: Graph, early: str, peaks: str) -> None:
    """Write the branch that stops early."""
    graph.node("Identity", [early], "lower.logits")
    graph.node("Identity", [peaks], "lower.peaks")
    rows = graph.node("Concat", ["units.row", graph.tensor("width", np.array([HIDDEN], np.int64))], "rows", axis=0)
    graph.node("ConstantOfShape", [rows], "lower.means")
    graph.tensor("no.embedding", np.zeros((1, HIDDEN), np.float32))
    graph.node("Identity", ["no.embedding"], "lower.embedding")


def _serialise(graph: Graph, outputs: list[Any], metadata: Mapping[str, str]) -> bytes:
    inputs = [
        helper.make_tensor_value_info("ids", TensorProto.INT64, [1, "tokens"]),
        helper.make_tensor_value_info("unit", TensorProto.INT64, ["tokens"]),
        helper.make_tensor_value_info("whole", TensorProto.BOOL, []),
    ]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(MICROSOFT, 1)]
    whole = helper.make_graph(graph.nodes, "encoder", inputs, outputs, graph.tensors)
    model = helper.make_model(whole, opset_imports=opsets, ir_version=10, producer_name="tayguard")
    helper.set_model_props(model, dict(sorted(metadata.items())))
    checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _embed(graph: Graph, weights: Weights) -> str:
    """Write the embedding of tokens (int8 rows) and positions (the one token type folded in)."""
    words = weights["embeddings.word_embeddings.weight"]
    quantised, scales = quantise(words)
    rows = graph.node("Gather", [graph.tensor("words.q", quantised), "ids"], "words.rows")
    rows = graph.node("Cast", [rows], "words.float", to=TensorProto.FLOAT)
    scale = graph.node("Gather", [graph.tensor("words.s", scales.reshape(-1, 1)), "ids"], "words.scale")
    rows = graph.node("Mul", [rows, scale], "words")
    table = weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][:1]
    shape = graph.node("Shape", ["ids"], "tokens", start=1, end=2)
    bounds = [graph.tensor("zero", np.array([0], np.int64)), shape, graph.tensor("axis0", np.array([0], np.int64))]
    places = graph.node("Slice", [graph.tensor("places.table", table), *bounds], "places.rows")
    places = graph.node("Unsqueeze", [places, "axis0"], "places")
    return _normalise(graph, weights, "embeddings.LayerNorm", "states.0", [rows, places])


def _normalise(graph: Graph, weights: Weights, prefix: str, output: str, inputs: list[str]) -> str:
    """Write layer normalisation of the sum of two inputs and, if given, a bias."""
    gamma = graph.tensor(f"{prefix}.weight", weights[f"{prefix}.weight"])
    beta = graph.tensor(f"{prefix}.bias", weights[f"{prefix}.bias"])
    terms = [inputs[0], inputs[1], gamma, beta, *inputs[2:]]
    return graph.node("SkipLayerNormalization", terms, output, MICROSOFT, epsilon=EPSILON)


def _sight(graph: Graph) -> None:
    """Write ``sight`` (1, 1, n, n): 0 where the token of a row sees that of a column, and very low elsewhere."""
    axes = graph.tensor("axes01", np.array([0, 1], np.int64))
    row = graph.node("Unsqueeze", ["unit", "axis0"], "unit.row")
    column = graph.node("Unsqueeze", ["unit", graph.tensor("axis1", np.array([1], np.int64))], "unit.column")
    hidden = graph.node("Greater", [row, column], "hidden")
    low, none = graph.tensor("low", np.array(-1e9, np.float32)), graph.tensor("none", np.array(0, np.float32))
    graph.node("Unsqueeze", [graph.node("Where", [hidden, low, none], "sight.flat"), axes], "sight")


def _members(graph: Graph) -> None:
    """Write ``member`` (units, n, 1): whether a token stands in a unit, and ``share`` (units, n): its part of it."""
    last = graph.node("ReduceMax", ["unit"], "last.unit", keepdims=0)
    count = graph.node("Add", [last, graph.tensor("one", np.array(1, np.int64))], "units")
    graph.node("Unsqueeze", [count, "axis0"], "units.row")
    numbers = graph.node("Range", [graph.tensor("from", np.array(0, np.int64)), count, "one"], "numbers")
    member = graph.node(
        "Equal", [graph.node("Unsqueeze", [numbers, "axis1"], "numbers.column"), "unit.row"], "member.flat"
    )
    share = graph.node("Cast", [member], "member.float", to=TensorProto.FLOAT)
    graph.node("Div", [share, graph.node("ReduceSum", [share, "axis1"], "count", keepdims=1)], "share")
    graph.node("Unsqueeze", [member, graph.tensor("axis2", np.array([2], np.int64))], "member")


def _layer(graph: Graph, weights: Weights, layer: int, state: str) -> str:
    """Write one transformer layer; return the name of its output."""
    prefix, short = f"encoder.layer.{layer}.", f"layer{layer}."
    parts = [f"{prefix}attention.self.{part}" for part in ("query", "key", "value")]
    triple = [graph.linear(f"{short}{part[-5:]}", state, weights[f"{part}.weight"]) for part in parts]
    biases = [weights[f"{part}.bias"] for part in parts]
    triple.append(graph.tensor(f"{short}bias", np.concatenate(biases)))
    inputs = [*triple, "", "sight"]
    mixed = graph.node("MultiHeadAttention", inputs, f"{short}attention", MICROSOFT, num_heads=NUM_HEADS)
    mixed = graph.linear(f"{short}mixed", mixed, weights[f"{prefix}attention.output.dense.weight"])
    bias = graph.tensor(f"{short}mixed.bias", weights[f"{prefix}attention.output.dense.bias"])
    state = _normalise(graph, weights, f"{prefix}attention.output.LayerNorm", f"{short}attended", [mixed, state, bias])
    wide = graph.linear(f"{short}wide", state, weights[f"{prefix}intermediate.dense.weight"])
    bias = graph.tensor(f"{short}wide.bias", weights[f"{prefix}intermediate.dense.bias"])
    wide = graph.node("BiasGelu", [wide, bias], f"{short}gelu", MICROSOFT)
    narrow = graph.linear(f"{short}narrow", wide, weights[f"{prefix}output.dense.weight"])
    bias = graph.tensor(f"{short}narrow.bias", weights[f"{prefix}output.dense.bias"])
    return _normalise(graph, weights, f"{prefix}output.LayerNorm", f"states.{layer + 1}", [narrow, state, bias])


def _read(graph: Graph, weights: Weights, name: str, source: str) -> tuple[str, str]:
    """Write (units, labels) logits, a unit's mean level plus its highest peak, and (n, labels) peaks."""
    weight = graph.tensor(f"{name}.weight", weights[f"{name}.weight"].T)
    read = graph.node("MatMul", [source, weight], f"{name}.product")
    read = graph.node("Add", [read, graph.tensor(f"{name}.bias", weights[f"{name}.bias"])], f"{name}.sum")
    read = graph.node("Squeeze", [read, "axis0"], f"{name}.read")
    half = len(weights["exit.logits"])
    level = graph.node("Slice", [read, *_bounds(graph, f"{name}.level", 0, half), "axis1"], f"{name}.level")
    peaks = graph.node("Slice", [read, *_bounds(graph, f"{name}.peak", half, 2 * half), "axis1"], f"{name}.peaks")
    level = graph.node("MatMul", ["share", level], f"{name}.mean")
    nothing = graph.tensor(f"{name}.nothing", np.array(NOTHING, np.float32))
    heights = graph.node("Where", ["member", peaks, nothing], f"{name}.heights")
    height = graph.node("ReduceMax", [heights, "axis1"], f"{name}.height", keepdims=0)
    return graph.node("Add", [level, height], f"{name}.logits"), peaks


def _bounds(graph: Graph, name: str, first: int, end: int) -> list[str]:
    return [graph.tensor(f"{name}.{at}", np.array([place], np.int64)) for at, place in (("first", first), ("end", end))]
