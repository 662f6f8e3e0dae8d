"""What is behind one code, looked up in an index that is built layer by layer when it is first asked for.

Building sorts the occurrences of all codes once; a look-up then takes milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np

from srcid.codebook.cards import MARGIN_BINS, ClassShare, CodeCard, Companion, Exemplar, Match, Neighbour
from srcid.params import suggest
from srcid.statistics import Interval, contingency, most_frequent, wilson
from srcid.symbols import (
    InspectionError,
    StepLabel,
    check_layer,
    clip_rows,
    labels_of,
    mixed_radix,
    sample_name,
    symbols_of,
)

_TRIES = 200  # steps looked at for an exemplar of another clip


class CodeIndex:
    """Inverted index of a CodeTable: code -> where it occurs, nearest first.

    Args:
        table: the CodeTable.
        clips: split, rows, or None for all clips.

    Raises:
        InspectionError: the table has no codes.

    Example, on a table of the digits::

        card = CodeIndex(table).look_up(layer=1, code=17)
        card.exemplars["audio"][0].media  # 'wav:recordings/7_theo_3.wav#0.0,0.5'
    """

    def __init__(self, table: Any, clips: Any = None) -> None:
        self.table, self.clips, self.rows = table, clips, clip_rows(table, clips)
        self.sample = sample_name(table, clips)
        self.modalities, self.layers = tuple(table.modalities), tuple(range(1, table.layers + 1))
        self.sizes = {layer: symbols_of(table, layer, clips=self.rows[:1]).size for layer in self.layers}
        self.notes: list[str] = []
        self._indices: dict[int, _LayerIndex] = {}
        self._met: dict[tuple[int, int], np.ndarray] = {}  # codes x classes, filled by searches

    def used(self, layer: int) -> np.ndarray:
        """Codes of ``layer`` that occur, the most used first."""
        return most_frequent(self._layer(layer).usage)

    def look_up(self, layer: int, code: int, k: int = 8, each: int = 2) -> CodeCard:
        """Gather what is known of one code; a code that never occurs gives a card that says so.

        Args:
            layer: from 1.
            code: symbol as in ``table.code``.
            k: number of near misses a modality, of neighbours, classes and co-occurring codes.
            each: number of exemplars of each fifth of the distance, a modality.

        Raises:
            InspectionError: no such layer or code.
        """
        found, steps = self._layer(layer), self.table.steps
        self._check_code(layer, code)
        labels = self._labels  # first, for its notes
        places = {m: found.occurrences[m].of(code) for m in self.modalities}
        missed = {m: inverted.of(code) for m, inverted in found.near_misses.items()}
        notes = [*self.notes, *found.notes]
        if not any(len(where) for where in places.values()):
            notes.append(f"code {code} of layer {layer} is never used in {self.sample}")
        return CodeCard(
            layer=layer,
            code=int(code),
            symbols=self._symbols(layer, places),
            sample=self.sample,
            clips=len(np.unique(np.concatenate(list(places.values())) // steps)),
            counts={m: len(where) for m, where in places.items()},
            exemplars={m: self._exemplars(found, m, where, each) for m, where in places.items()},
            near_misses={m: self._near_misses(found, m, where, k) for m, where in missed.items()},
            margins={m: np.histogram(found.margin[m][where], MARGIN_BINS)[0] for m, where in places.items()}
            if found.margin else {},
            neighbours=self._neighbours(found, code, k),
            labels={label.name: self._distribution(i, places, k) for i, label in enumerate(labels)},
            steps={m: np.bincount(where % steps, minlength=steps) for m, where in places.items()},
            together={other: self._together(other, places, k) for other in self.layers if other != layer},
            notes=tuple(notes),
        )  # fmt: skip

    @property
    def classes(self) -> tuple[tuple[str, str], ...]:
        """``(label, class)`` of all that :meth:`search` knows by name."""
        return tuple((label.name, name) for label in self._labels for name in label.classes)

    def search(self, layer: int, text: str, k: int = 8) -> tuple[Match, ...]:
        """Find codes by their number, or the codes that mark a class best.

        Args:
            text: a code number, a class ("dog") or, where several labels have such a class, "label: class".
                The beginning of a name is enough; a whole number is always a code.
            k: at most so many codes. They are ranked by the harmonic mean of purity and coverage (F1), as a
                pure code may be a rare one.

        Raises:
            InspectionError: no such layer, code or class.
        """
        wanted = " ".join(text.split()).casefold()
        if re.fullmatch(r"-?\d+", wanted):
            self._check_code(layer, int(wanted))
            return (Match(int(wanted), int(self._layer(layer).usage[int(wanted)])),)
        names = {f"{label}: {name}": (label, name) for label, name in self.classes}
        tests = (str.__eq__, str.startswith)
        hits = [
            found
            for test in tests
            for full, found in names.items()
            if wanted and any(test(candidate.casefold(), wanted) for candidate in (found[1], full))
        ]
        if not hits:
            known = list(dict.fromkeys(name for _, name in self.classes))
            raise InspectionError(
                f"found no class '{text}'{suggest(text, known)}; need a code from 0 to {self.sizes[layer] - 1}"
                + (f" or one of {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}" if known else "")
            )
        return self._best(layer, *hits[0], k)

    def _best(self, layer: int, label: str, name: str, k: int) -> tuple[Match, ...]:
        index = next(i for i, known in enumerate(self._labels) if known.name == label)
        if (layer, index) not in self._met:
            self._met[layer, index] = self._meetings(layer, self._labels[index])
        met = self._met[layer, index]
        both, total = met[:, self._labels[index].classes.index(name)], met[:, -1]
        present = both.sum()
        score = 2 * both / np.maximum(total + present, 1)
        order = most_frequent(score, k)
        if not len(order):
            raise InspectionError(f"no code of layer {layer} goes with {label}: {name}; it is in none of these clips")
        return tuple(
            Match(int(c), int(both[c]), label, name, float(both[c] / total[c]), float(both[c] / present)) for c in order
        )

    def _meetings(self, layer: int, label: StepLabel) -> np.ndarray:
        """Clip-steps of every code with every class, ``[codes, classes + 1]``; the last column is with any label."""
        symbol, shape = label.symbols.ravel(), (self.sizes[layer], len(label.names))
        counts = sum(contingency(flat, symbol, *shape) for flat in self._layer(layer).flat.values())
        return np.hstack([(counts @ label.class_matrix()).toarray(), counts.sum(axis=1)[:, None]])

    def _layer(self, layer: int) -> _LayerIndex:
        check_layer(self.table, layer)
        if layer not in self._indices:
            self._indices[layer] = _LayerIndex(self.table, layer, self.rows, self.sizes[layer])
        return self._indices[layer]

    @cached_property
    def _labels(self) -> tuple[StepLabel, ...]:
        found, notes = labels_of(self.table, self.clips)
        self.notes += notes
        if not found:
            self.notes.append("the table has no labels, so their distribution is not shown")
        return found

    @cached_property
    def _usual(self) -> list[np.ndarray]:
        """Of each label, the share of the labelled steps that hold each class, wherever a modality has a code."""
        times = sum((flat >= 0).astype(np.float64) for flat in self._layer(self.layers[0]).flat.values())
        shares = []
        for label in self._labels:
            symbol = label.symbols.ravel()
            known = symbol >= 0
            counts = np.bincount(symbol[known], times[known], minlength=len(label.names)) @ label.class_matrix()
            shares.append(counts / max(times[known].sum(), 1))
        return shares

    def _check_code(self, layer: int, code: int) -> None:
        check_layer(self.table, layer)
        if not 0 <= code < self.sizes[layer]:
            raise InspectionError(f"found codes 0 to {self.sizes[layer] - 1} in layer {layer}, not a code {code}")

    def _symbols(self, layer: int, places: dict[str, np.ndarray]) -> tuple[int, ...]:
        for m, where in places.items():
            if len(where):
                clip, step = divmod(int(where[0]), self.table.steps)
                return tuple(int(symbol) for symbol in self.table.codes(layer, m)[self.rows[clip], step])
        return ()

    def _exemplars(self, found: _LayerIndex, modality: str, places: np.ndarray, each: int) -> tuple[Exemplar, ...]:
        """Some of each fifth: the nearest of all, the farthest of all, and between them the middle of the fifth."""
        edges = -(-np.arange(6) * len(places) // 5)  # the nearest one is always of the first fifth
        seen: set[int] = set()
        shown = []
        for fifth in range(1, 6):
            low, high = int(edges[fifth - 1]), int(edges[fifth])
            start = low if fifth == 1 else max(low, (low + high - each) // 2)
            order = range(high - 1, low - 1, -1) if fifth == 5 else range(start, high)
            picked = self._of_new_clips(places, order, each, seen)  # one of a clip, whose steps look alike
            shown += [self._exemplar(found, modality, int(places[i]), fifth) for i in sorted(picked)]
        return tuple(shown)

    def _near_misses(self, found: _LayerIndex, modality: str, places: np.ndarray, k: int) -> tuple[Exemplar, ...]:
        picked = self._of_new_clips(places, range(len(places)), k, set())
        return tuple(self._exemplar(found, modality, int(places[i]), 0) for i in picked)

    def _of_new_clips(self, places: np.ndarray, order: Iterable[int], most: int, seen: set[int]) -> list[int]:
        """Take from ``order`` the first ``most`` positions of clips not in ``seen``, which learns of them."""
        picked: list[int] = []
        for tried, i in enumerate(order):
            clip = int(places[i]) // self.table.steps
            if clip not in seen:
                seen.add(clip)
                picked.append(i)
            if len(picked) == most or tried == _TRIES:
                break
        return picked

    def _exemplar(self, found: _LayerIndex, modality: str, place: int, fifth: int) -> Exemplar:
        row, step = int(self.rows[place // self.table.steps]), place % self.table.steps
        media = self.table.media.get(modality) if self.table.media else None
        label = next((label for label in self._labels if label.name == "event"), next(iter(self._labels), None))
        symbol = -1 if label is None else int(label.symbols.ravel()[place])
        return Exemplar(
            modality, row, str(self.table.ids[row]), step,
            distance=float((found.distance if fifth else found.second_distance)[modality][place]),
            media="" if media is None else str(media[row, step]),
            label="" if symbol < 0 else label.names[symbol],
            margin=float(found.margin[modality][place]) if found.margin else float("nan"),
            fifth=fifth,
            code=int(found.flat[modality][place]),
        )  # fmt: skip

    def _neighbours(self, found: _LayerIndex, code: int, k: int) -> tuple[Neighbour, ...]:
        if found.vectors is None:
            return ()
        codes, vectors = found.vectors
        (own,) = np.nonzero(codes == code)
        if not len(own):
            return ()
        gap = np.linalg.norm(vectors - vectors[own[0]], axis=1)
        gap[own[0]] = np.inf
        nearest = np.argsort(gap, kind="stable")[: min(k, len(codes) - 1)]
        return tuple(Neighbour(int(codes[i]), float(gap[i]), int(found.usage[codes[i]])) for i in nearest)

    def _distribution(self, index: int, places: dict[str, np.ndarray], k: int) -> tuple[ClassShare, ...]:
        label, usual = self._labels[index], self._usual[index]
        where = np.concatenate(list(places.values()))
        symbol = label.symbols.ravel()[where]
        where, symbol = where[symbol >= 0], symbol[symbol >= 0]
        if not len(where):
            return ()
        counts = np.bincount(symbol, minlength=len(label.names)) @ label.class_matrix()
        share, clips = counts / len(where), len(np.unique(where // self.table.steps))
        low, high = wilson(share, clips)
        all_at_once, _ = wilson(share, clips, z=NormalDist().inv_cdf(1 - 0.025 / len(label.classes)))
        return tuple(
            ClassShare(
                label.classes[i], int(counts[i]), Interval(*(float(x[i]) for x in (share, low, high)), n=clips),
                float(usual[i]), bool(all_at_once[i] > usual[i]),
            )
            for i in most_frequent(counts, k)
        )  # fmt: skip

    def _together(self, other: int, places: dict[str, np.ndarray], k: int) -> tuple[Companion, ...]:
        there = self._layer(other)
        met = np.concatenate([there.flat[m][where] for m, where in places.items()])
        counts = np.bincount(met[met >= 0], minlength=self.sizes[other])
        share, usual = counts / max(counts.sum(), 1), there.usage / max(there.usage.sum(), 1)
        return tuple(
            Companion(int(i), int(counts[i]), float(share[i]), float(usual[i])) for i in most_frequent(counts, k)
        )


class _Inverted:
    """Positions of each code in ``codes`` ``[n]``, those of the least ``rank`` first; codes below 0 are left out."""

    def __init__(self, codes: np.ndarray, rank: np.ndarray, size: int) -> None:
        first = np.argsort(rank, kind="stable").astype(np.int32)
        ordered = codes[first]
        order = np.argsort(ordered, kind="stable")  # of 16-bit integers a radix sort
        self.start = np.searchsorted(ordered[order], np.arange(size + 1))
        self.places = first[order]

    def of(self, code: int) -> np.ndarray:
        """Positions of one code."""
        return self.places[self.start[code] : self.start[code + 1]]


class _LayerIndex:
    """What the index keeps of one layer, by modality and position (of the clip) * steps + step."""

    def __init__(self, table: Any, layer: int, rows: np.ndarray, size: int) -> None:
        self.table, self.layer, self.rows, self.size = table, layer, rows, size
        self.notes: list[str] = []
        small = np.int16 if size <= np.iinfo(np.int16).max else np.int32
        codes = symbols_of(table, layer, clips=rows).values
        self.flat = {m: found.ravel().astype(small) for m, found in codes.items()}
        self.usage = sum(np.bincount(flat[flat >= 0], minlength=size) for flat in self.flat.values())
        self.distance = {m: self._read(table.distance, m) for m in self.flat}
        self.occurrences = {m: _Inverted(flat, self.distance[m], size) for m, flat in self.flat.items()}
        self.vectors = self._code_vectors()
        self.margin, self.second_distance, self.near_misses = {}, {}, {}
        try:
            self.margin = {m: np.asarray(table.margin(layer, m)[rows]).ravel() for m in self.flat}
            self.second_distance = {m: np.asarray(table.nearest(layer, m)[rows][..., 1]).ravel() for m in self.flat}
            seconds = {m: self._seconds(m) for m in self.flat}
        except ValueError as problem:
            self.notes.append(f"near misses are not shown: {problem}")
        else:
            self.near_misses = {m: _Inverted(second, self.margin[m], size) for m, second in seconds.items()}

    def _read(self, read: Any, modality: str) -> np.ndarray:
        try:
            return np.asarray(read(self.layer, modality)[self.rows]).ravel()
        except ValueError:
            note = "the table keeps no distances, so exemplars stand in the order of the clips"
            self.notes += [note] if note not in self.notes else []
            return np.full(len(self.rows) * self.table.steps, np.nan, dtype=np.float32)

    def _seconds(self, modality: str) -> np.ndarray:
        """The second nearest code in the numbers of :attr:`flat`; -1 for none, and for combinations in no clip."""
        second = np.asarray(self.table.second(self.layer, modality)[self.rows]).ravel()
        if self.table.stages > 1:
            book = self.table.codebook(self.layer)
            if book is None or len(book) > 1:
                raise InspectionError("the second nearest combination of several stages is not known")
            # all clips' combinations, in the order in which table.code numbers those that occur
            radix = {m: mixed_radix(np.asarray(self.table.codes(self.layer, m)), self.table.sizes) for m in self.flat}
            known = np.unique(np.concatenate([found[found >= 0] for found in radix.values()]))
            place = np.searchsorted(known, second).clip(0, len(known) - 1)
            second = np.where(known[place] == second, place, -1)
        return second.astype(next(iter(self.flat.values())).dtype)

    def _code_vectors(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Codes and their vectors ``[codes, D]``: all of a plain codebook, else the used ones."""
        book = self.table.codebook(self.layer)
        if book is None:
            self.notes.append(f"layer {self.layer} has no codebook, so the neighbours of its codes are not shown")
            return None
        if self.table.stages == 1:
            return np.arange(len(book[0])), np.asarray(book[0])
        codes, vectors = [], []
        known = np.zeros(self.size, dtype=bool)
        for m, flat in self.flat.items():
            found, first = np.unique(flat, return_index=True)
            new = (found >= 0) & ~known[found]
            if new.any():
                clip, step = np.divmod(first[new], self.table.steps)
                unique, place = np.unique(self.rows[clip], return_inverse=True)
                codes.append(found[new].astype(np.int64))
                vectors.append(self.table.quantized(self.layer, m, unique)[place, step])
                known[found[new]] = True
        return np.concatenate(codes), np.concatenate(vectors)
