"""Names inside an ONNX graph by place: converters number them by the process's history, and some by memory addresses."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import onnx


def by_place(model: Any) -> None:
    """Order the nodes as the outputs need them, and rename all but the graph's own inputs and outputs in that order."""
    kept = {value.name: value.name for value in (*model.graph.input, *model.graph.output)}
    model.graph.name = "model"
    _Renaming(kept).graph(model.graph)


class _Renaming:
    """One walk over a graph and the graphs inside its nodes; an inner graph sees the outer one's names."""

    def __init__(self, kept: Mapping[str, str]) -> None:
        self._kept = dict(kept)
        self._count = 0

    def graph(self, graph: Any, outer: Mapping[str, str] | None = None) -> None:
        if outer is not None:
            _settle_copies(graph)
        _order(graph)
        names = {**(outer or {}), **({} if outer is not None else self._kept)}
        own = {tensor.name for tensor in graph.initializer}
        if outer is not None:
            for value in graph.input:
                names[value.name] = value.name = self._next()
        for node in graph.node:
            self._node(node, names, own)
        for tensor in graph.initializer:
            tensor.name = names.get(tensor.name) or self._next()
        if outer is not None:
            for value in graph.output:
                value.name = names[value.name]
        ordered = sorted(graph.initializer, key=lambda tensor: (len(tensor.name), tensor.name))
        del graph.initializer[:], graph.value_info[:]
        graph.initializer.extend(ordered)

    def _node(self, node: Any, names: dict[str, str], own: set[str]) -> None:
        for place, name in enumerate(node.input):
            if name in own and name not in names:
                names[name] = self._next()
            node.input[place] = names[name] if name else ""
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                attribute.g.name = f"inner{self._count}"
                # An inner graph may be the first to use one of this graph's weights.
                for name in _used(attribute.g):
                    if name in own and name not in names:
                        names[name] = self._next()
                self.graph(attribute.g, dict(names))
        for place, name in enumerate(node.output):
            if name and name not in self._kept:
                names[name] = self._next()
            node.output[place] = names.get(name, name)
        node.name = f"{node.op_type}{self._count}"
        if not node.domain:
            node.ClearField("domain")  # an empty text and none at all are not the same bytes

    def _next(self) -> str:
        self._count += 1
        return f"t{self._count}"


def _settle_copies(graph: Any) -> None:
    """Where a loop gives one value twice, the first output is the value and the other its copy; either way may come."""
    place = {value.name: number for number, value in enumerate(graph.output)}
    for node in graph.node:
        if node.op_type == "Identity" and node.input[0] in place and node.output[0] in place:
            value, copied = place[node.input[0]], place[node.output[0]]
            if copied < value:
                graph.output[copied].name, graph.output[value].name = node.input[0], node.output[0]


def _order(graph: Any) -> None:
    """Put the nodes in the order of a walk from the outputs back; where a file lists them depends on their names."""
    maker = {name: node for node in graph.node for name in node.output if name}
    done: dict[int, Any] = {}
    open_ = [maker[value.name] for value in reversed(graph.output) if value.name in maker]
    while open_:
        node = open_[-1]
        waiting = [maker[name] for name in _needs(node) if name in maker and id(maker[name]) not in done]
        if id(node) in done or not waiting:
            done.setdefault(id(open_.pop()), node)
            continue
        open_ += reversed(waiting)
    nodes = [copy.deepcopy(node) for node in done.values()]
    del graph.node[:]
    graph.node.extend(nodes)


def _needs(node: Any) -> list[str]:
    """Return the names that a node takes, those that graphs inside it take from around them included."""
    inner = [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    return [*node.input, *(name for graph in inner for name in _used(graph))]


def _used(graph: Any) -> list[str]:
    return [name for node in graph.node for name in _needs(node)] + [value.name for value in graph.output]
