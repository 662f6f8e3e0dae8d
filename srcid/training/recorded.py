"""Work of many small operations that a GPU does as one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

Given = Mapping[Hashable, tuple[Tensor | None, ...]]


class _Recording(NamedTuple):
    graph: torch.cuda.CUDAGraph
    given: list[Tensor]
    found: dict[str, Tensor]


class Recorded:
    """A function of tensors that a GPU records (a CUDA graph) and replays: its operations are launched at once then.

    It is called as it is the first time that tensors of these names and shapes are given, recorded the second time,
    and replayed from then on. What it changes in place, such as weights and moments of an optimiser, it must find in
    the same memory each time; make another one where that is no longer so.

    Args:
        function: takes tuples of tensors (or None) by name, returns tensors by name, and never waits for the GPU.
    """

    def __init__(self, function: Callable[[Given], dict[str, Tensor]]) -> None:
        self.function = function
        self._recordings: dict[Hashable, _Recording | None] = {}

    def __call__(self, given: Given) -> dict[str, Tensor]:
        """Return what the function does; the result is the caller's."""
        flat = [tensor for each in given.values() for tensor in each if tensor is not None]
        key = tuple((name, *(None if t is None else (t.shape, t.dtype) for t in each)) for name, each in given.items())
        if key not in self._recordings:
            self._recordings[key] = None
            return self.function(given)
        recording = self._recordings[key]
        if recording is None:
            recording = self._recordings[key] = self._record(given)
        for mine, theirs in zip(recording.given, flat, strict=True):
            mine.copy_(theirs)
        recording.graph.replay()
        return {name: value.clone() for name, value in recording.found.items()}

    def _record(self, given: Given) -> _Recording:
        """Record the function on tensors of its own; nothing is computed."""
        own = {name: tuple(None if t is None else t.clone() for t in each) for name, each in given.items()}
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = self.function(own)
        return _Recording(graph, [tensor for each in own.values() for tensor in each if tensor is not None], found)
