"""The code explorer's answers: what is behind one code, looked up in an index built once.

Building the index sorts the occurrences of all codes once; a look-up then takes a few milliseconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from srcid.codebook.cards import ClassShare, CodeCard, Companion, Exemplar, Match, Neighbour
from srcid.params import suggest
from srcid.statistics import wilson
from srcid.symbols import DiagnosticsError, StepLabel, check_layer, clip_rows, label_names, label_of, symbols_of


class CodeIndex:
    """Inverted index of a CodeTable: code -> where it occurs, nearest first.

    Args:
        table: the CodeTable.
        clips: split, rows, or None for all clips.

    Raises:
        DiagnosticsError: the table has no codes.

    Example, on a table of the digits::

        card = CodeIndex(table).look_up(layer=1, code=17)
        card.exemplars["audio"][0].media  # 'wav:recordings/7_theo_3.wav#0.0,0.5'
    """

    def __init__(self, table: Any, clips: Any = None) -> None:
        self.table, self.rows = table, clip_rows(table, clips)
        self.modalities, self.layers = tuple(table.modalities), tuple(range(1, table.layers + 1))
        codes = {layer: symbols_of(table, layer, clips=clips) for layer in self.layers}
        self.sizes = {layer: found.size for layer, found in codes.items()}
        self.notes: list[str] = []
        # flat[layer, m][place]: code at place = clip position * steps + step
        self._flat = {(k, m): codes[k].values[m].ravel().astype(np.int64) for k in codes for m in self.modalities}
        self._distance = {key: self._distances(*key) for key in self._flat}
        self._places: dict[tuple[int, str], np.ndarray] = {}
        self._start: dict[tuple[int, str], np.ndarray] = {}
        for (k, m), flat in self._flat.items():
            order = np.lexsort((self._distance[k, m], flat))
            self._places[k, m] = order
            self._start[k, m] = np.searchsorted(flat[order], np.arange(self.sizes[k] + 1))
        self._usage = {
            k: sum(np.bincount(v[v >= 0], minlength=self.sizes[k]) for v in (self._flat[k, m] for m in self.modalities))
            for k in self.layers
        }
        self._labels: list[StepLabel] = []
        for name in label_names(table):
            try:
                self._labels.append(label_of(table, name, clips))
            except DiagnosticsError as problem:  # a constant label says nothing of codes; the rest still does
                self.notes.append(str(problem))
        if not self._labels:
            self.notes.append("the table has no labels, so their distribution is not shown")
        self._members = [label.members() for label in self._labels]
        self._met: dict[tuple[int, int], np.ndarray] = {}  # codes x classes, filled by searches
        self._prior = [self._label_shares(label) for label in self._labels]
        self._vectors = {k: self._code_vectors(k) for k in self.layers}

    def used(self, layer: int) -> np.ndarray:
        """Codes of ``layer`` that occur, the most used first."""
        check_layer(self.table, layer)
        counts = self._usage[layer]
        return np.argsort(-counts, kind="stable")[: int((counts > 0).sum())]

    def look_up(self, layer: int, code: int, k: int = 8) -> CodeCard:
        """Gather what is known of one code; a code that never occurs gives a card that says so.

        Args:
            layer: from 1.
            code: symbol as in ``table.code``.
            k: number of exemplars a modality, of neighbours, classes and co-occurring codes.

        Raises:
            DiagnosticsError: no such layer or code.
        """
        check_layer(self.table, layer)
        self._check_code(layer, code)
        steps = self.table.steps
        notes = list(self.notes)
        places = {m: self._occurrences(layer, m, code) for m in self.modalities}
        if not any(len(where) for where in places.values()):
            notes.append(f"code {code} of layer {layer} is never used in these clips")
        if self._vectors[layer] is None:
            notes.append(f"layer {layer} has no codebook, so the neighbours of its codes are not shown")
        return CodeCard(
            layer=layer,
            code=int(code),
            symbols=self._symbols(layer, places),
            clips=len(np.unique(np.concatenate(list(places.values())) // steps)),
            of_clips=len(self.rows),
            counts={m: len(where) for m, where in places.items()},
            spread={m: self._quartiles(layer, m, where) for m, where in places.items() if len(where)},
            exemplars={m: self._exemplars(layer, m, where, k) for m, where in places.items()},
            neighbours=self._neighbours(layer, code, k),
            labels={label.name: self._distribution(i, places, k) for i, label in enumerate(self._labels)},
            steps={m: np.bincount(where % steps, minlength=steps) for m, where in places.items()},
            together={other: self._together(other, places, k) for other in self.layers if other != layer},
            notes=tuple(notes),
        )

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
            DiagnosticsError: no such layer, code or class.
        """
        check_layer(self.table, layer)
        wanted = " ".join(text.split()).casefold()
        if wanted.lstrip("-").isdecimal():
            self._check_code(layer, int(wanted))
            return (Match(int(wanted), int(self._usage[layer][int(wanted)])),)
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
            raise DiagnosticsError(
                f"found no class '{text}'{suggest(text, known)}; need a code from 0 to {self.sizes[layer] - 1}"
                + (f" or one of {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}" if known else "")
            )
        return self._best(layer, *hits[0], k)

    def _best(self, layer: int, label: str, name: str, k: int) -> tuple[Match, ...]:
        index = next(i for i, known in enumerate(self._labels) if known.name == label)
        if (layer, index) not in self._met:
            self._met[layer, index] = self._meetings(layer, index)
        both = self._met[layer, index][:, self._labels[index].classes.index(name)]
        total, present = self._met[layer, index][:, -1], both.sum()
        score = 2 * both / np.maximum(total + present, 1)
        order = np.argsort(-score, kind="stable")[: min(k, int((both > 0).sum()))]
        if not len(order):
            raise DiagnosticsError(f"no code of layer {layer} goes with {label}: {name}; it is in none of these clips")
        return tuple(
            Match(int(c), int(both[c]), label, name, float(both[c] / total[c]), float(both[c] / present)) for c in order
        )

    def _meetings(self, layer: int, index: int) -> np.ndarray:
        """Clip-steps of every code with every class, ``[codes, classes + 1]``; the last column is with any label."""
        from scipy import sparse

        known = self._labels[index].symbols.ravel() >= 0
        counted = sparse.hstack([self._members[index], sparse.csr_matrix(known[:, None].astype(float))], format="csr")
        total = np.zeros((self.sizes[layer], counted.shape[1]))
        for m in self.modalities:
            flat = self._flat[layer, m]
            (where,) = np.nonzero(flat >= 0)
            gather = sparse.csr_matrix((np.ones(len(where)), (flat[where], where)), shape=(len(total), len(flat)))
            total += (gather @ counted).toarray()
        return total

    def _check_code(self, layer: int, code: int) -> None:
        if not 0 <= code < self.sizes[layer]:
            raise DiagnosticsError(f"found codes 0 to {self.sizes[layer] - 1} in layer {layer}, not a code {code}")

    def _symbols(self, layer: int, places: dict[str, np.ndarray]) -> tuple[int, ...]:
        for m, where in places.items():
            if len(where):
                clip, step = divmod(int(where[0]), self.table.steps)
                return tuple(int(symbol) for symbol in self.table.codes(layer, m)[self.rows[clip], step])
        return ()

    def _quartiles(self, layer: int, modality: str, places: np.ndarray) -> tuple[float, float, float]:
        low, middle, high = np.percentile(self._distance[layer, modality][places], [25, 50, 75])
        return float(low), float(middle), float(high)

    def _distances(self, layer: int, modality: str) -> np.ndarray:
        try:
            return np.asarray(self.table.distance(layer, modality))[self.rows].ravel()
        except ValueError:
            note = "the table keeps no distances, so exemplars stand in the order of the clips"
            if note not in self.notes:
                self.notes.append(note)
            return np.full(len(self.rows) * self.table.steps, np.nan, dtype=np.float32)

    def _occurrences(self, layer: int, modality: str, code: int) -> np.ndarray:
        start = self._start[layer, modality]
        return self._places[layer, modality][start[code] : start[code + 1]]

    def _exemplars(self, layer: int, modality: str, places: np.ndarray, k: int) -> tuple[Exemplar, ...]:
        steps, ids = self.table.steps, self.table.ids
        # the steps of one clip look alike: show its best one only
        _, first = np.unique(places // steps, return_index=True)
        media = self.table.media.get(modality) if self.table.media else None
        found = []
        for place in places[np.sort(first)[:k]]:
            clip, step = int(self.rows[place // steps]), int(place % steps)
            reference = "" if media is None else str(media[clip, step])
            distance = float(self._distance[layer, modality][place])
            found.append(Exemplar(modality, clip, str(ids[clip]), step, distance, reference, self._named(place)))
        return tuple(found)

    def _named(self, place: int) -> str:
        label = next((label for label in self._labels if label.name == "event"), next(iter(self._labels), None))
        symbol = -1 if label is None else int(label.symbols.ravel()[place])
        return "" if symbol < 0 else label.names[symbol]

    def _neighbours(self, layer: int, code: int, k: int) -> tuple[Neighbour, ...]:
        if self._vectors[layer] is None:
            return ()
        codes, vectors = self._vectors[layer]
        (own,) = np.nonzero(codes == code)
        if not len(own):
            return ()
        gap = np.linalg.norm(vectors - vectors[own[0]], axis=1)
        gap[own[0]] = np.inf
        nearest = np.argsort(gap, kind="stable")[: min(k, len(codes) - 1)]
        return tuple(Neighbour(int(codes[i]), float(gap[i]), int(self._usage[layer][codes[i]])) for i in nearest)

    def _distribution(self, index: int, places: dict[str, np.ndarray], k: int) -> tuple[ClassShare, ...]:
        label, members, prior = self._labels[index], self._members[index], self._prior[index]
        where = np.concatenate(list(places.values()))
        where = where[label.symbols.ravel()[where] >= 0]
        if not len(where):
            return ()
        counts = np.asarray(members[where].sum(axis=0)).ravel()
        share = counts / len(where)
        lift = np.divide(share, prior, out=np.zeros_like(share), where=prior > 0)
        low, high = wilson(share, len(np.unique(where // self.table.steps)))
        order = np.argsort(-counts, kind="stable")[: min(k, int((counts > 0).sum()))]
        return tuple(
            ClassShare(label.classes[i], int(counts[i]), *(float(x[i]) for x in (share, lift, low, high)))
            for i in order
        )

    def _label_shares(self, label: StepLabel) -> np.ndarray:
        """Share of the labelled steps that hold each class, wherever a modality has a code."""
        times = sum((self._flat[1, m] >= 0).astype(float) for m in self.modalities)
        times = times * (label.symbols.ravel() >= 0)
        return np.asarray(label.members().T @ times).ravel() / max(times.sum(), 1)

    def _together(self, other: int, places: dict[str, np.ndarray], k: int) -> tuple[Companion, ...]:
        met = np.concatenate([self._flat[other, m][where] for m, where in places.items()])
        met = met[met >= 0]
        counts, base = np.bincount(met, minlength=self.sizes[other]), self._usage[other]
        order = np.argsort(-counts, kind="stable")[: min(k, int((counts > 0).sum()))]
        share = counts / max(len(met), 1)
        return tuple(
            Companion(int(i), int(counts[i]), float(share[i]), float(share[i] * base.sum() / base[i])) for i in order
        )

    def _code_vectors(self, layer: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Codes and their vectors ``[codes, D]``: all of a plain codebook, else the used ones."""
        book = self.table.codebook(layer)
        if book is None:
            return None
        if self.table.stages == 1:
            return np.arange(len(book[0])), np.asarray(book[0])
        codes, vectors = [], []
        known = np.zeros(self.sizes[layer], dtype=bool)
        for m in self.modalities:
            found, first = np.unique(self._flat[layer, m], return_index=True)
            new = (found >= 0) & ~known[found]
            if new.any():
                clip, step = np.divmod(first[new], self.table.steps)
                unique, place = np.unique(self.rows[clip], return_inverse=True)
                codes.append(found[new])
                vectors.append(self.table.quantized(layer, m, unique)[place, step])
                known[found[new]] = True
        return np.concatenate(codes), np.concatenate(vectors)
