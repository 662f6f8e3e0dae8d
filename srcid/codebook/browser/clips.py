"""Clips in codes, one after the other, in one run or in two one above the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from srcid.widget import Guard, View, framed, redraw

ALONE = "(nothing)"


class ClipCodes(View):
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
        self._splits = {name: rows for name, rows in self.table.splits.items() if len(rows)}
        self._splits = self._splits or {"all": range(self.table.clips)}
        if clip < 0:
            split = "test" if "test" in self._splits else list(self._splits)[-1]
            clip = int(self._splits[split][0])
        elif not any(clip in rows for rows in self._splits.values()):
            self._splits["all"] = range(self.table.clips)
        split = next(name for name, rows in self._splits.items() if clip in rows)
        rows = list(self._splits[split])
        self.split = w.Dropdown(options=list(self._splits), value=split, description="split")
        self.slider = w.IntSlider(
            rows.index(clip), 0, len(rows) - 1, description="clip", continuous_update=False, layout=dict(width="420px")
        )
        names = list(self.tables)
        self.run = w.Dropdown(options=names, value=names[0], description="run")
        self.beside = w.Dropdown(options=[ALONE, *names], value=[ALONE, *names[1:]][:2][-1], description="beside it")
        self.guard, self.view = Guard(), go.FigureWidget()
        self.split.observe(lambda _: self.guard(self._choose_split), "value")
        for control in (self.slider, self.run, self.beside):
            control.observe(lambda _: self.guard(self._show), "value")
        runs = w.HBox([self.run, self.beside], layout=dict(display="" if len(names) > 1 else "none"))
        self.widget = w.VBox([w.HBox([self.split, self.slider]), runs, self.guard.message, framed(self.view)])
        self._show()

    @property
    def clip(self) -> int:
        """Row of the clip that is shown."""
        return int(self._splits[self.split.value][self.slider.value])

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

    def _choose_split(self) -> None:
        before = self.slider.value
        self.slider.value = 0
        self.slider.max = len(self._splits[self.split.value]) - 1
        if before == 0:  # the slider did not move, so nothing else will redraw
            self._show()

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
            raise ValueError(f"this is a code of {run}; the code explorer shows codes of {next(iter(self.tables))}")
        modality = self.table.modalities[list(trace.y).index(points.ys[0])]
        code = int(self.table.code(layer, modality)[self.clip, round(points.xs[0])])
        if code >= 0:
            self.on_code(layer, code)
