"""Clips in codes, one after the other, in one run or in two one above the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from srcid.problems import ProblemsError
from srcid.widget import ClipView, Guard, framed, redraw

ALONE = "(nothing)"


class ClipCodes(ClipView):
    """Leaf through the clips of a split, each as the codes of a run, or of two runs one above the other.

    Codes of the run below have the colours of the codes above that they are matched with.

    Args:
        tables: a CodeTable, or CodeTables by the name of their run, all of the same store; the first two are
            shown first.
        clip: row to begin with, -1 for the first clip of the split "test" (or else of the last split).
        on_code: called with layer and code when a cell of the first table is clicked.

    Raises:
        InspectionError: tables of different stores, no such row, or no table.

    Attributes:
        widget: the view, for display.
    """

    def __init__(self, tables: Any, clip: int = -1, on_code: Callable[[int, int], None] | None = None) -> None:
        import ipywidgets as w
        import plotly.graph_objects as go

        from srcid.codebook.matching import check_same_clips
        from srcid.symbols import InspectionError

        self.tables = dict(tables) if isinstance(tables, Mapping) else {"": tables}
        check_same_clips(self.tables)
        self.table, self.on_code = next(iter(self.tables.values())), on_code
        self._matched: dict[tuple[str, ...], tuple[Any, ...]] = {}
        if not -1 <= clip < self.table.clips:
            raise InspectionError(
                f"found clip {clip}, need a row from 0 to {self.table.clips - 1}, or -1 for the first"
            )
        splits = {name: rows for name, rows in self.table.splits.items() if len(rows)}
        splits = splits or {"all": range(self.table.clips)}
        if clip < 0:
            clip = int(splits["test" if "test" in splits else list(splits)[-1]][0])
        elif not any(clip in rows for rows in splits.values()):
            splits["all"] = range(self.table.clips)
        names = list(self.tables)
        self.run = w.Dropdown(options=names, value=names[0], description="run")
        self.beside = w.Dropdown(options=[ALONE, *names], value=[ALONE, *names[1:]][:2][-1], description="beside it")
        self.guard, self.view = Guard(), go.FigureWidget()
        line = self._choose_among(splits, clip)
        self.guard.watch(self._show, self.run, self.beside)
        runs = w.HBox([self.run, self.beside], layout=dict(display="" if len(names) > 1 else "none"))
        self.widget = w.VBox([line, runs, self.guard.message, framed(self.view)])
        self._show()

    @property
    def shown(self) -> dict[str, Any]:
        """The tables that are shown, by name."""
        names = dict.fromkeys([self.run.value, self.beside.value])
        return {name: self.tables[name] for name in names if name in self.tables}

    def figure(self) -> Any:
        """Return the static twin of the view."""
        from srcid.codebook.figures.strips import code_strips

        return code_strips(self.shown, self.clip, self._matchings())

    def _matchings(self) -> tuple[Any, ...]:
        """Of the layers that both runs have; found once, on all clips, as it is names that are wanted."""
        from srcid.codebook.matching import match_codes
        from srcid.symbols import for_each

        if len(names := tuple(self.shown)) < 2:
            return ()
        if names not in self._matched:
            layers = range(1, min(table.layers for table in self.shown.values()) + 1)
            cases = [dict(layer=k, bootstrap=0) for k in layers]
            self._matched[names] = for_each(match_codes, self.shown, cases).results
        return self._matched[names]

    def _show(self) -> None:
        redraw(self.view, self.figure())
        for trace in self.view.data:
            if trace.type == "heatmap":
                trace.on_click(self._clicked)

    def _clicked(self, trace: Any, points: Any, state: Any) -> None:
        if points.xs and self.on_code:
            self.guard(lambda: self._go_to(trace, points))

    def _go_to(self, trace: Any, points: Any) -> None:
        run, layer = trace.meta
        if self.tables[run] is not self.table:
            raise ProblemsError(f"this is a code of {run}; the code explorer shows codes of {next(iter(self.tables))}")
        modality = self.table.modalities[list(trace.y).index(points.ys[0])]
        code = int(self.table.code(layer, modality)[self.clip, round(points.xs[0])])
        if code >= 0:
            self.on_code(layer, code)
