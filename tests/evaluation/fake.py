"""A code table in memory, with as much truth in its codes as a test asks for."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np


@dataclass
class FakeTable:
    """The part of a CodeTable that evaluation reads, made of plain arrays."""

    books: list  # per layer [S, L, D], or None
    symbols: dict  # (layer, modality) -> [N, T, S]
    events: np.ndarray
    splits: dict
    masks: dict
    kept: dict = field(default_factory=dict)  # (layer, modality) -> (rows, values)
    classes: tuple = ()
    labelled: dict = field(default_factory=dict)

    def __post_init__(self):
        self.modalities = tuple(self.masks)
        self.layers = len(self.books)
        self.clips, self.steps, count = self.events.shape
        self.labels = {"event": self.events}
        names = self.classes or tuple(f"class {c}" for c in range(count))
        self.label_info = {"event": SimpleNamespace(kind="multilabel", classes=names)}

    def codes(self, layer, modality):
        codes = self.symbols[layer, modality]
        return np.where(self.masks[modality][..., None], codes, -1)

    def code(self, layer, modality):
        return self.codes(layer, modality)[..., 0].astype(np.int64)

    def codebook(self, layer):
        return self.books[layer - 1]

    def quantized(self, layer, modality, rows=None):
        rows = np.arange(self.clips) if rows is None else rows
        codes, book = self.symbols[layer, modality][rows], self.books[layer - 1]
        values = sum(book[s][codes[..., s]] for s in range(book.shape[0]))
        return np.where(self.masks[modality][rows][..., None], values, np.float32(0))

    def general(self, layer, modality):
        if (layer, modality) not in self.kept:
            raise ValueError(f"keeps no general features of layer {layer}, {modality}")
        return self.kept[layer, modality]


def make_table(
    clips=240,
    steps=5,
    classes=4,
    dim=8,
    stages=1,
    modalities=("audio", "video"),
    noise=0.0,
    two_events=0.0,
    seed=0,
):
    """Codes that are the labels: symbol c for class c, symbol `classes` for background.

    The first symbol of layer 1 knows the class (wrong at a share `noise` of steps), all others are random.
    Each clip has one event with onset and offset, and a share `two_events` of the clips a second one.
    """
    draw = np.random.default_rng(seed)
    events = np.zeros((clips, steps, classes), bool)
    for clip in range(clips):
        for _ in range(1 + (draw.random() < two_events)):
            onset = draw.integers(0, steps - 1)
            events[clip, onset : onset + draw.integers(1, steps), draw.integers(classes)] = True
    truth = np.where(events.any(-1), events.argmax(-1), classes)
    symbols = {}
    for m in modalities:
        wrong = draw.random(truth.shape) < noise
        symbols[1, m] = draw.integers(0, classes + 1, (clips, steps, stages))
        symbols[1, m][..., 0] = np.where(wrong, symbols[1, m][..., 0], truth)
        symbols[2, m] = draw.integers(0, classes + 1, (clips, steps, stages))
    books = [draw.normal(size=(stages, classes + 1, dim)).astype(np.float32) * scale for scale in (3.0, 0.1)]
    rows = draw.permutation(clips)
    a, b = clips // 2, 3 * clips // 4
    return FakeTable(
        books, symbols, events, {"train": rows[:a], "val": rows[a:b], "test": rows[b:]},
        {m: np.ones((clips, steps), bool) for m in modalities},
    )  # fmt: skip
