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
POOLED_LAYERS = (1, 2, 3, 4, 5, 6)
"""Hidden states whose mean and maximum over the tokens are the features of the heads."""

FEATURES = 2 * HIDDEN * len(POOLED_LAYERS)


@dataclass
class Graph:
    """The nodes and tensors written so far."""

    nodes: list[Any] = field(default_factory=list)
    tensors: list[Any] = field(default_factory=list)

    def tensor(self, name: str, value: Array) -> str:
        """Store ``value`` under ``name``; return the name."""
        self.tensors.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
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


def build(weights: Weights, heads: Weights | None, metadata: Mapping[str, str]) -> bytes:
    """Return the serialised model.

    Inputs: ``ids`` (1, n) int64, special tokens included; ``start`` (1,) int64, where the judged text begins (1 without
    context). Outputs: ``embedding`` (1, 384) of unit length over all tokens, and per label ``logits`` (2, labels):
    over the judged text, and over it together with its context. Without ``heads``, ``features`` (2, FEATURES) instead
    of logits.
    """
    graph = Graph()
    state = _embed(graph, weights)
    states = [state]
    for layer in range(LAYERS):
        state = _layer(graph, weights, layer, state)
        states.append(state)
    features = _pool(graph, states)
    outputs = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, HIDDEN])]
    if heads is None:
        graph.node("Identity", [features], "features")
        outputs.append(helper.make_tensor_value_info("features", TensorProto.FLOAT, [2, FEATURES]))
    else:
        weight, bias = graph.tensor("heads.weight", heads["weight"]), graph.tensor("heads.bias", heads["bias"])
        graph.node("Gemm", [features, weight, bias], "logits", transB=1)
        outputs.append(helper.make_tensor_value_info("logits", TensorProto.FLOAT, [2, heads["bias"].shape[0]]))
    return _serialise(graph, outputs, metadata)


def _serialise(graph: Graph, outputs: list[Any], metadata: Mapping[str, str]) -> bytes:
    inputs = [
        helper.make_tensor_value_info("ids", TensorProto.INT64, [1, "tokens"]),
        helper.make_tensor_value_info("start", TensorProto.INT64, [1]),
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


def _layer(graph: Graph, weights: Weights, layer: int, state: str) -> str:
    """Write one transformer layer; return the name of its output."""
    prefix, short = f"encoder.layer.{layer}.", f"layer{layer}."
    parts = [f"{prefix}attention.self.{part}" for part in ("query", "key", "value")]
    triple = [graph.linear(f"{short}{part[-5:]}", state, weights[f"{part}.weight"]) for part in parts]
    biases = [weights[f"{part}.bias"] for part in parts]
    triple.append(graph.tensor(f"{short}bias", np.concatenate(biases)))
    mixed = graph.node("MultiHeadAttention", triple, f"{short}attention", MICROSOFT, num_heads=NUM_HEADS)
    mixed = graph.linear(f"{short}mixed", mixed, weights[f"{prefix}attention.output.dense.weight"])
    bias = graph.tensor(f"{short}mixed.bias", weights[f"{prefix}attention.output.dense.bias"])
    state = _normalise(graph, weights, f"{prefix}attention.output.LayerNorm", f"{short}attended", [mixed, state, bias])
    wide = graph.linear(f"{short}wide", state, weights[f"{prefix}intermediate.dense.weight"])
    bias = graph.tensor(f"{short}wide.bias", weights[f"{prefix}intermediate.dense.bias"])
    wide = graph.node("BiasGelu", [wide, bias], f"{short}gelu", MICROSOFT)
    narrow = graph.linear(f"{short}narrow", wide, weights[f"{prefix}output.dense.weight"])
    bias = graph.tensor(f"{short}narrow.bias", weights[f"{prefix}output.dense.bias"])
    return _normalise(graph, weights, f"{prefix}output.LayerNorm", f"states.{layer + 1}", [narrow, state, bias])


def _pool(graph: Graph, states: list[str]) -> str:
    """Write the sentence embedding, and the features over the judged text (row 0) and over all tokens (row 1)."""
    axis = graph.tensor("axis1", np.array([1], np.int64))
    one, end = graph.tensor("one", np.array([1], np.int64)), graph.tensor("end", np.array([2**31], np.int64))
    mean = graph.node("ReduceMean", [states[-1], axis], "mean", keepdims=0)
    graph.node("LpNormalization", [mean], "embedding", axis=1, p=2)
    joined = graph.node("Concat", [states[layer] for layer in POOLED_LAYERS], "states", axis=2)
    first = graph.node("Slice", [joined, "zero", one, axis], "judged.first")
    rest = graph.node("Slice", [joined, "start", end, axis], "judged.rest")
    judged = graph.node("Concat", [first, rest], "judged", axis=1)
    rows = []
    for name, source in (("judged", judged), ("whole", joined)):
        pooled = [
            graph.node("ReduceMean", [source, axis], f"{name}.mean", keepdims=0),
            graph.node("ReduceMax", [source, axis], f"{name}.max", keepdims=0),
        ]
        rows.append(graph.node("Concat", pooled, f"{name}.features", axis=1))
    return graph.node("Concat", rows, "pooled", axis=0)
