"""Nodes and tensors of an ONNX graph, written one after the other; matrices are kept in int8 with a scale a row."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]


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
