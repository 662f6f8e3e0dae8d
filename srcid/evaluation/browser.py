"""Retrieval to leaf through, and codes to turn: choose who asks and who answers, or what becomes what."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

from srcid.problems import ProblemsError
from srcid.widget import Guard, View, framed, listing, redraw


class RetrievalGallery(View):
    """A gallery of queries and their nearest clips, with players.

    Args:
        results: of :func:`srcid.evaluation.retrieval.code_retrieval`.
        table: the code table it is of.
        store: the feature store behind it, for pictures, words and sounds; None for codes alone.
        direction: (query, target) modalities to begin with.

    Raises:
        ProblemsError: there are no scores, or none of that direction.
    """

    def __init__(self, results: Any, table: Any, store: Any = None, direction: tuple[str, str] | None = None) -> None:
        import ipywidgets
        import plotly.graph_objects as go

        self.table, self.store = table, store
        self.scores = {(s.query, s.target, s.representation): s for s in results.scores}
        start = next((key for key in self.scores if direction in (None, key[:2])), None)
        if start is None:
            there = ", ".join(f"{a} → {b}" for a, b, _ in self.scores) or "none"
            raise ProblemsError(f"found no retrieval scores of {direction}; there are {there}")
        options = [(f"{a} asks, {b} answers ({name})", (a, b, name)) for a, b, name in self.scores]
        self.direction = ipywidgets.Dropdown(options=options, value=start, layout=dict(width="360px"))
        self.guard, self.players, self.view = Guard(), ipywidgets.VBox(), go.FigureWidget()
        view = framed(self.view)
        self.guard(self._show)
        self.guard.watch(self._show, self.direction)
        self.widget = ipywidgets.VBox([self.direction, self.guard.message, view, self.players])

    def figure(self) -> Any:
        """Return what is shown as a plain figure."""
        return self._draw()[0]

    def _draw(self) -> tuple[Any, Any, dict[int, Any]]:
        from srcid.evaluation.figures.gallery import gallery_media, retrieval_gallery
        from srcid.evaluation.retrieval import gallery

        chosen = gallery(self.scores[self.direction.value])
        media = gallery_media(chosen, self.store)
        return retrieval_gallery(chosen, self.table, media), chosen, media

    def _show(self) -> None:
        import ipywidgets

        figure, chosen, media = self._draw()
        redraw(self.view, figure)
        self.players.children = [ipywidgets.HTML(text) for text in sound_rows(chosen, media)]
        problems = [problem for clip in media.values() for problem in clip.problems]
        if problems:
            raise RuntimeError("; ".join(problems[:3]))


class CodeTurner(View):
    """Turn a code of a clip into another, or leave a layer out, and see what probes and retrieval then answer.

    Args:
        table: the code table.
        probes: of :func:`srcid.evaluation.probes.fit_probes` on this table.
        layer, code, into: what to begin with; -1 for the most used codes of two classes other than background.
        split: whose clips are turned.

    Raises:
        EvaluationError: as :class:`srcid.evaluation.turning.Turner`.
    """

    def __init__(
        self, table: Any, probes: Any, layer: int = 1, code: int = -1, into: int = -1, split: str = "test"
    ) -> None:
        import ipywidgets as w
        import plotly.graph_objects as go

        from srcid.evaluation.turning import LAYER_OUT, Turner

        self.table = table
        self._turner = Turner(table, probes, split)
        self._rows = self._turner.unturned.rows
        self._found: dict[Any, Any] = {}
        used = self._used(layer)
        pair = [c for c in self._telling(used) if c not in (code, into)] + [LAYER_OUT] * 2
        code = code if code >= 0 else pair.pop(0)
        into = into if into >= 0 else pair.pop(0)
        small = dict(layout=dict(width="150px"))
        self.layer = w.Dropdown(options=list(range(1, table.layers + 1)), value=layer, description="layer", **small)
        self.code = w.Dropdown(options=self._options(used, "leave it out"), value=code, description="turn")
        self.into = w.Dropdown(options=self._options(used), value=into, description="into")
        self.clip = w.Dropdown(description="clip", layout=dict(width="320px"))
        self.guard, self.view, self.answers = Guard(), go.FigureWidget(), w.HTML()
        line = w.HBox([self.layer, self.code, self.into], layout=dict(flex_flow="row wrap"))
        self.widget = w.VBox([line, self.guard.message, framed(self.view), self.clip, self.answers])
        self._show()
        self.guard.watch(self._turn_layer, self.layer)
        self.guard.watch(self._show, self.code, self.into)
        self.guard.watch(self._tell, self.clip)

    @property
    def turned(self) -> Any:
        """What the turn does over clips, a :class:`srcid.evaluation.turning.Turned`; computed once."""
        if (turn := self._turn()) not in self._found:
            self._found[turn] = self._turner.turn(turn)
        return self._found[turn]

    def figure(self) -> Any:
        """Return what is shown over clips as a plain figure."""
        from srcid.evaluation.figures.scores import turning_figure

        return turning_figure(self.turned, self.table.modalities)

    def frame(self) -> Any:
        """Return what is answered in the chosen clip before and after, as a DataFrame."""
        return self._turner.clip(self._turn(), int(self.clip.value))

    def _turn(self) -> Any:
        from srcid.evaluation.turning import LAYER_OUT, Turn

        out = self.code.value == LAYER_OUT
        return Turn(self.layer.value, self.code.value, LAYER_OUT if out else self.into.value)

    def _used(self, layer: int) -> dict[int, str]:
        """Codes of a layer in the split, the most used first, each with the class at most of its steps.

        None where the quantiser has no codes; the class is empty where none is known.
        """
        import numpy as np

        from srcid.symbols import label_of

        if not np.shape(self.table.codes(layer, self.table.modalities[0]))[-1]:
            return {}
        codes = np.stack([np.asarray(self.table.code(layer, m))[self._rows] for m in self.table.modalities])
        label = label_of(self.table, None, self._rows)
        classes = np.broadcast_to(label.symbols, codes.shape)
        met = np.zeros((codes.max(initial=0) + 1, len(label.names) + 1), int)  # the last one is that of -1, unknown
        np.add.at(met, (codes[codes >= 0], classes[codes >= 0]), 1)
        best = np.where(met[:, :-1].any(1), met[:, :-1].argmax(1), -1)
        order = np.argsort(-met.sum(1), kind="stable")
        names = (*label.names, "")
        return {int(code): names[best[code]] for code in order if met[code].any()}

    def _telling(self, used: Mapping[int, str]) -> list[int]:
        """The same codes, but first the most used one of each class other than background: turning it says most."""
        from srcid.symbols import BACKGROUND

        first: dict[str, int] = {}
        for code, name in used.items():
            if name not in ("", BACKGROUND):
                first.setdefault(name, code)
        return list(dict.fromkeys([*first.values(), *used]))

    def _options(self, used: Mapping[int, str], first: str = "–") -> list[tuple[str, int]]:
        from srcid.evaluation.turning import LAYER_OUT

        named = {code: f"code {code} · {name}" if name else f"code {code}" for code, name in used.items()}
        return [(first, LAYER_OUT), *((text, code) for code, text in named.items())]

    def _turn_layer(self) -> None:
        used = self._used(self.layer.value)
        with self.guard.quiet():
            self.code.options, self.into.options = self._options(used, "leave it out"), self._options(used)
            self.code.value, self.into.value = [*self._telling(used), -1, -1][:2]
        self._show()

    def _show(self) -> None:
        import numpy as np

        turn = self._turn()
        self.into.disabled = turn.code == turn.into
        redraw(self.view, self.figure())
        rows = self._rows
        if turn.code >= 0:
            codes = np.stack([np.asarray(self.table.code(turn.layer, m))[rows] for m in self.table.modalities])
            rows = rows[(codes == turn.code).any((0, 2))]
        before, names = self.clip.value, getattr(self.table, "ids", np.arange(self.table.clips).astype(str))
        with self.guard.quiet():  # the answers are told once, below
            self.clip.options = [(f"{row}: {names[row]}", int(row)) for row in rows[:500]]
            self.clip.value = before if before in rows[:500] else int(rows[0])
        self._tell()

    def _tell(self) -> None:
        table = self.frame()
        table.insert(1, "probe", table.pop("train") + " → " + table.pop("test"))
        before, after = (table[side].str.replace(r",? \d+%\)?$", "", regex=True) for side in ("before", "after"))
        changed = (before != after).map({True: "≠", False: "="})  # another answer, however sure
        table.insert(4, "", changed)
        self.answers.value = listing(table)


def sound_rows(gallery: Any, media: dict[int, Any]) -> list[str]:
    """Return a line of HTML per query with the players of its sounds, as far as its clips have any."""
    from IPython.display import Audio

    lines = []
    for place, (query, hits, right) in enumerate(zip(gallery.queries, gallery.hits, gallery.right, strict=True), 1):
        cells = [(int(query), gallery.query, "query")]
        cells += [(int(hit), gallery.target, "✓" if ok else "") for hit, ok in zip(hits, right, strict=True)]
        players = [
            f"{mark} {Audio(samples, rate=rate)._repr_html_()}"
            for clip, modality, mark in cells
            if clip in media and modality in media[clip].sounds
            for samples, rate in [media[clip].sounds[modality]]
        ]
        if players:
            lines.append(f"<div style='display:flex;gap:6px;align-items:center'>{html.escape(str(place))}: "
                         f"{' '.join(players)}</div>")  # fmt: skip
    return lines
