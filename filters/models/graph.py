"""Write MiniLM as an ONNX graph straight from its weights: int8 weights, deterministic bytes, no torch.

Weights are int8 with one scale a row and become float when the session loads; activations stay float, so nothing that
stands beside a token can change its scale. Integer products with one scale a row were measured too: a quarter faster
on a CPU without VNNI, but 0.990 in cosine to the original against 0.999 (``bench/encoder.py`` prints the shipped
figures).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto, checker, helper

from filters.models.nodes import Array, Graph, quantise

Weights = Mapping[str, Array]

MICROSOFT = "com.microsoft"
BOOL = TensorProto.BOOL
LAYERS = 6
HIDDEN = 384
NUM_HEADS = 12
EPSILON = 1e-12  # layer_norm_eps in the model's config.json
STAGES = {"glance": 1, "early": 3, "heads": LAYERS}
"""Where logits are read, and after how many layers: what a stage finds harmless, the next one does not look at."""

GLANCE_WIDTH = 192
"""Hidden units of the first stage's head: one layer's states alone are too plain for a linear one."""

POOLED = tuple(range(STAGES["early"] + 1, LAYERS + 1))
"""Layers whose states the last logits read, side by side."""

NOTHING = -1e4
"""A logit lower than any: of a token that a unit does not have."""


def build(weights: Weights, metadata: Mapping[str, str]) -> bytes:
    """Return the serialised model.

    Inputs: ``ids`` (1, n) int64, special tokens included; ``unit`` (n,) int64, the number of each token's unit, counted
    from 0; ``whole`` () bool. A token sees its own unit and those before it, so what follows never changes a unit.
    Outputs: ``logits`` (units, labels), ``peaks`` (n, labels), the part of the logits that each token gives, ``means``
    (units, 384) of unit length, and ``embedding`` (1, 384) of unit length over all tokens.

    A unit whose logits at a stage are all under the stage's ``exit`` is settled and keeps them. Where all are, and
    ``whole`` is false, the layers above do not run; the embeddings are zero then. The logits do not depend on
    ``whole``.
    """
    graph = Graph()
    state = _embed(graph, weights)
    _sight(graph)
    _members(graph)
    _stage(graph, weights, tuple(STAGES), state, Found("", ""), "")
    return _serialise(graph, _outputs("", _labels(weights)), metadata)


@dataclass(frozen=True)
class Found:
    """What the stages so far gave: the logits, and whether a unit is open still. Empty before the first stage."""

    logits: str
    open: str


def _stage(graph: Graph, weights: Weights, stages: Sequence[str], state: str, before: Found, to: str) -> None:
    """Write the layers and logits of the first of ``stages``, and the others; outputs are named with ``to`` before."""
    name, *rest = stages
    begin = dict(zip(STAGES, (0, *STAGES.values()), strict=False))[name]
    states = []
    for layer in range(begin, STAGES[name]):
        state = _layer(graph, weights, layer, state)
        states.append(state)
    logits, peaks = _read(graph, weights, name, _source(graph, weights, name, states))
    if before.logits:
        logits = graph.node("Where", [before.open, logits, before.logits], f"{name}.held")
    if not rest:
        _finish(graph, state, logits, peaks, to)
        return
    found = Found(logits, _open(graph, weights, name, logits, before.open))
    some = graph.node("Cast", [found.open], f"{name}.open.int", to=TensorProto.INT64)
    some = graph.node("Cast", [graph.node("ReduceMax", [some], f"{name}.any", keepdims=0)], f"{name}.some", to=BOOL)
    go_on = graph.node("Or", [some, "whole"], f"{name}.go_on")
    above, stop = Graph(), Graph()
    _stage(above, weights, rest, state, found, f"{name}.above.")
    _stop(stop, logits, peaks, f"{name}.stop.")
    labels = _labels(weights)

    def branch(part: Graph, end: str) -> Any:  # noqa: ANN401
        return helper.make_graph(part.nodes, f"{name}{end}", [], _outputs(f"{name}{end}.", labels), part.tensors)

    branches = {"then_branch": branch(above, ".above"), "else_branch": branch(stop, ".stop")}
    names = [output.name for output in _outputs(to, labels)]
    graph.nodes.append(helper.make_node("If", [go_on], names, name=f"{name}.if", **branches))


def _source(graph: Graph, weights: Weights, name: str, states: Sequence[str]) -> str:
    """Write what a stage's head reads."""
    if name == "heads":
        return graph.node("Concat", list(states), "joined", axis=2)
    if name == "glance":
        wide = graph.node(
            "MatMul", [states[-1], graph.tensor("glance.wide.t", weights["glance.wide.weight"].T)], "wide"
        )
        return graph.node(
            "BiasGelu", [wide, graph.tensor("glance.wide.b", weights["glance.wide.bias"])], "seen", MICROSOFT
        )
    return states[-1]


def _open(graph: Graph, weights: Weights, name: str, logits: str, before: str) -> str:
    """Write whether a unit is open still after a stage: it was before, and some logit reaches the stage's exit."""
    exits = graph.tensor(f"{name}.exit", weights[f"{name}.exit"])
    over = graph.node("GreaterOrEqual", [logits, exits], f"{name}.over")
    over = graph.node("Cast", [over], f"{name}.over.int", to=TensorProto.INT64)
    over = graph.node(
        "Cast", [graph.node("ReduceMax", [over, "axis1"], f"{name}.most", keepdims=1)], f"{name}.high", to=BOOL
    )
    return graph.node("And", [over, before], f"{name}.open") if before else over


def _outputs(prefix: str, labels: int) -> list[Any]:
    shapes: dict[str, list[str | int | None]] = {
        "logits": ["units", labels],
        "peaks": ["tokens", labels],
        "means": ["units", HIDDEN],
        "embedding": [1, HIDDEN],
    }
    return [helper.make_tensor_value_info(prefix + name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]


def _finish(graph: Graph, state: str, logits: str, peaks: str, to: str) -> None:
    """Write the outputs after the last layer."""
    graph.node("Identity", [logits], f"{to}logits")
    graph.node("Identity", [peaks], f"{to}peaks")
    flat = graph.node("Squeeze", [state, "axis0"], "last.flat")
    graph.node("LpNormalization", [graph.node("MatMul", ["share", flat], "unit.means")], f"{to}means", axis=1, p=2)
    mean = graph.node("ReduceMean", [state, "axis1"], "mean", keepdims=0)
    graph.node("LpNormalization", [mean], f"{to}embedding", axis=1, p=2)


def _stop(graph: Graph, logits: str, peaks: str, to: str) -> None:
    """Write the outputs where a stage settled all."""
    graph.node("Identity", [logits], f"{to}logits")
    graph.node("Identity", [peaks], f"{to}peaks")
    width = graph.tensor(f"{to}width", np.array([HIDDEN], np.int64))
    rows = graph.node("Concat", ["units.row", width], f"{to}rows", axis=0)
    graph.node("ConstantOfShape", [rows], f"{to}means")
    graph.node("Identity", [graph.tensor(f"{to}none", np.zeros((1, HIDDEN), np.float32))], f"{to}embedding")


def _labels(weights: Weights) -> int:
    return len(weights["heads.bias"]) // 2


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
    half = _labels(weights)
    level = graph.node("Slice", [read, *_bounds(graph, f"{name}.level", 0, half), "axis1"], f"{name}.level")
    peaks = graph.node("Slice", [read, *_bounds(graph, f"{name}.peak", half, 2 * half), "axis1"], f"{name}.peaks")
    level = graph.node("MatMul", ["share", level], f"{name}.mean")
    nothing = graph.tensor(f"{name}.nothing", np.array(NOTHING, np.float32))
    heights = graph.node("Where", ["member", peaks, nothing], f"{name}.heights")
    height = graph.node("ReduceMax", [heights, "axis1"], f"{name}.height", keepdims=0)
    return graph.node("Add", [level, height], f"{name}.logits"), peaks


def _bounds(graph: Graph, name: str, first: int, end: int) -> list[str]:
    return [graph.tensor(f"{name}.{at}", np.array([place], np.int64)) for at, place in (("first", first), ("end", end))]
