"""Linked maps: what is chosen in one is marked in the others, counted, and looked up in the code explorer."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from srcid.maps.atlas import Missing
from srcid.maps.linking import Choice, Links
from srcid.maps.projection import Projection
from srcid.problems import ProblemsError
from srcid.selections import SelectionView
from srcid.widget import Guard, framed, redraw

_MODES = {"point and click": "zoom", "lasso": "lasso", "box": "select"}
_SHOWN = 6  # rows of a table of counts
_ROW = "display:flex;flex-wrap:wrap;align-items:flex-start;gap:4px 28px;line-height:1.35;margin-top:4px"


class LinkedMaps(SelectionView):
    """Maps side by side in one figure, linked by what their points stand for.

    Lasso or box in one map: the same places (clip, step, modality) are marked in the others, in a map of a
    codebook the codes they have, and counts are shown below. "keep" gives the marked points a name, under which
    :attr:`kept` and, beside the run, a file hold them as a table. With "point and click", the mouse over a point
    shows and plays what is there in every modality, and a click marks all that has its code and calls ``on_code``.
    The drop-downs colour all maps, and mark all points of one value without a mouse.

    Args:
        views: :class:`srcid.maps.projection.Projection` objects of two dimensions. A
            :class:`srcid.maps.atlas.Missing` leaves a panel that says why there is no map.
        modalities: all modalities of the table, in its order.
        on_code: called with (layer, code) when a point is clicked.
        table: the CodeTable of the points, whose media are shown; None shows none.
        folder: where kept selections lie, a CSV file each and a note beside it; None keeps them in memory only.

    Raises:
        ProblemsError: no views, or one of three dimensions, in which nothing can be lassoed.

    Attributes:
        chosen: the :class:`srcid.maps.linking.Choice`, or None.
        widget: the whole view; ``figure()`` is its static twin.
    """

    def __init__(self, views: Sequence[Projection | Missing], modalities: Sequence[str],
                 on_code: Callable[[int, int], None] | None = None, table: Any = None,
                 folder: str | Path | None = None) -> None:  # fmt: skip
        import ipywidgets
        import plotly.graph_objects as go

        from srcid.maps.figures.coloring import colorable

        self.views, self.modalities, self.on_code = tuple(views), tuple(modalities), on_code
        self._made = [i for i, view in enumerate(self.views) if isinstance(view, Projection)]
        if not self.views or any(self.views[i].dimensions != 2 for i in self._made):
            raise ProblemsError(f"found {len(self.views)} maps; need one or more, all of two dimensions")
        self.links = Links([self.views[i].columns for i in self._made])
        self.chosen: Choice | None = None
        self._code: tuple[int, int] | None = None  # whose points are marked
        self._event: tuple[int, list[int]] | None = None  # what a selection holds, until its last callback
        self.table, self._place = table, None
        known = list(dict.fromkeys(name for i in self._made for name in colorable(self.views[i].columns)))
        self.guard = Guard()
        self.color = ipywidgets.Dropdown(options=known, description="colour")
        self.value = ipywidgets.Dropdown(options=[""], description="mark")
        self.mode = ipywidgets.ToggleButtons(
            options=list(_MODES), value="lasso", style=dict(button_width="auto"), tooltips=[
                "hover over points to see and hear them, click one to look up its code", "draw around points",
                "draw a box around points",
            ],
        )  # fmt: skip
        self.clear = ipywidgets.Button(description="clear", tooltip="mark nothing", layout=dict(width="70px"))
        keeping = self._open_selections(folder, "the marked points")
        self.counts, self.media = ipywidgets.HTML(), ipywidgets.HTML()
        self.view = go.FigureWidget()
        view = framed(self.view)
        redraw(self.view, self._draw())
        self.view.layout.update(dragmode="lasso", hovermode=False)
        self._fill_values()
        self._wire()
        self._tell()
        controls = [self.mode, self.color, self.value, self.clear, *keeping]
        line = ipywidgets.HBox(controls, layout=dict(flex_flow="row wrap"))
        self.widget = ipywidgets.VBox([line, self.guard.message, view, self.media, self.counts])

    def figure(self) -> Any:
        """The maps as they are now, marks included, as a static figure."""
        from srcid.maps.figures.panels import mark

        figure = self._draw()
        mark(figure, self._rows())
        return figure

    def choose(self, view: int, rows: Sequence[int]) -> None:
        """Mark points of one map and what belongs to them; no rows: mark nothing."""
        self._code = None
        self._show(self.links.choose(self._made.index(view), np.asarray(rows, int)) if len(rows) else None)

    def choose_code(self, layer: int, code: int) -> None:
        """Mark all points that have a code, as a view does that this one follows."""
        if (layer, code) == self._code:
            return
        for i in self._made:
            columns = self.views[i].columns
            if name := _column_of_codes(columns):
                rows = np.flatnonzero((columns[name] == code) & (columns["layer"] == layer))
                if len(rows):
                    self.choose(i, rows)
                    self._code = (layer, code)
                    return
        self._show(None)

    def frame(self) -> Any:
        """The marked points as a DataFrame: those of the first map, with the codes of every layer that a map shows."""
        import pandas

        if not self._made:
            return pandas.DataFrame()
        rows = np.zeros(0, int) if self.chosen is None else self.chosen.rows[0]
        table = self.views[self._made[0]].frame().iloc[rows].reset_index(drop=True)
        return table.assign(**{name: codes[rows] for name, codes in self.links.codes_of(0).items()})

    def _selected(self) -> Any:
        if self.chosen is None:
            raise ProblemsError("found nothing marked; draw a lasso or a box first")
        return self.frame()

    def _draw(self) -> Any:
        from srcid.maps.figures.panels import map_figure

        panels = [(view, self.color.value or "") for view in self.views]
        return map_figure(panels, self.modalities, reserve=True)

    def _wire(self) -> None:
        self.guard.watch(self._recolor, self.color)
        self.guard.watch(self._choose_value, self.value)
        self.guard.watch(self._set_mode, self.mode)
        self.clear.on_click(lambda _: self.guard(lambda: self._show(None)))
        self.view.layout.on_change(lambda layout, mode: self.guard(lambda: self._follow_mode(mode)), "dragmode")
        for i in self._made:
            trace = self.view.data[i]
            trace.on_selection(lambda _, points, __, i=i: self.guard(lambda: self._collect(i, points.point_inds)))
            trace.on_deselect(lambda _, __, i=i: self.guard(lambda: self._collect(i, [])))
            trace.on_click(lambda _, points, __, i=i: self._click(i, points.point_inds))
            trace.on_hover(lambda _, points, __, i=i: self._hover(i, points.point_inds))

    def _collect(self, view: int, rows: list[int]) -> None:
        """Every event reaches every trace in turn, with the points of one of them; act when all have spoken."""
        if len(rows):
            self._event = (view, rows)
        if view == self._made[-1]:
            event, self._event = self._event, None
            if event:
                # The outline of a lasso would keep clicks from its points and choose them again later. Only the
                # browser knows of it, so there is no change on this side to send.
                self.view._send_relayout_msg({"selections": []})
                self.choose(*event)
            else:  # the browser's answer to that, or a lasso around nothing: what is marked stays
                self._show(self.chosen)

    def _click(self, view: int, rows: list[int]) -> None:
        if len(rows):  # all traces hear of every click; only for the one that was hit is there a message to renew
            self.guard(lambda: self._look_up(view, int(rows[0])))

    def _hover(self, view: int, rows: list[int]) -> None:
        if len(rows) and self.table is not None:
            self.guard(lambda: self._show_media(view, int(rows[0])))

    def _show_media(self, view: int, row: int) -> None:
        from srcid.maps.figures.panels import place_media

        columns = self.views[view].columns
        if not {"clip", "step"} <= set(columns):  # a code is nowhere in particular
            return
        place = int(columns["clip"][row]), int(columns["step"][row])
        if place != self._place:  # a sound that plays goes on while the mouse is over points of its place
            self._place, self.media.value = place, place_media(self.table, *place)

    def _look_up(self, view: int, row: int) -> None:
        columns = self.views[view].columns
        if self.table is not None:
            self._show_media(view, row)
        if not (name := _column_of_codes(columns)):
            raise ProblemsError("these points have no codes (identity quantiser), so there is none to look up")
        layer, code = int(columns["layer"][row]), int(columns[name][row])
        if code < 0:
            raise ProblemsError(
                f"vector {columns['code'][row]} of stage {columns['stage'][row]} is no code by itself: a code joins "
                "one vector of every stage" if "stage" in columns else "this point has no code"
            )  # fmt: skip
        self.choose_code(layer, code)
        if self.on_code is not None:
            self.on_code(layer, code)

    def _set_mode(self) -> None:
        self.view.layout.dragmode = _MODES[self.mode.value]

    def _follow_mode(self, dragmode: str) -> None:
        """Hovering and clicking go with looking; a hover right after a lasso would make its event disappear."""
        choosing = dragmode in ("lasso", "select")
        self.view.layout.hovermode = False if choosing else "closest"
        self.mode.value = next((name for name, mode in _MODES.items() if mode == dragmode), "point and click")

    def _recolor(self) -> None:
        from srcid.maps.figures.panels import recolor

        with self.view.batch_update():
            recolor(self.view, [(view, self.color.value) for view in self.views], self.modalities)
        self._fill_values()

    def _fill_values(self) -> None:
        """Values of the colour column that can be marked without a mouse."""
        found: dict[str, None] = {}
        for i in self._made:
            columns = self.views[i].columns
            if self.color.value in columns and len(names := np.unique(columns[self.color.value])) <= 1000:
                found |= dict.fromkeys(names.tolist())
        self.value.options = [("–", "")] + [(str(name), str(name)) for name in sorted(found, key=_order)]

    def _choose_value(self) -> None:
        if self.value.value:
            self._show(self.links.with_value(self.color.value, self.value.value))

    def _rows(self) -> list[np.ndarray] | None:
        if self.chosen is None:
            return None
        rows = [np.zeros(0, int)] * len(self.views)
        for i, own in zip(self._made, self.chosen.rows, strict=True):
            rows[i] = own
        return rows

    def _show(self, choice: Any) -> None:
        from srcid.maps.figures.panels import mark

        self.chosen = choice
        if choice is None:
            self._code = None
        with self.view.batch_update():
            mark(self.view, self._rows())
        if choice is None:
            self.value.value = ""
        self._tell()

    def _tell(self) -> None:
        """Say below the maps what is chosen."""
        if self.chosen is None:
            hint = "Nothing is marked: draw a lasso or a box in a map, or take “point and click” and click a point."
            self.counts.value = (hint if self._made else "There is no map to choose from.") + self._told_kept()
            return
        c = self.chosen
        share = c.size / max(c.total, 1)
        tables = "".join(_table(name, counts, share) for name, counts in c.counts.items())
        self.counts.value = (
            f"<b>{c.finding}</b>. Lift: share among the marked over "
            f"share among all.<div style='{_ROW}'>{tables}</div>{self._told_kept()}"
        )


def _table(name: str, counts: Sequence[tuple[str, int, int]], share: float) -> str:
    """Counts of one column as an HTML table."""
    rows = "".join(
        f"<tr><td>{html.escape(value) or '–'}</td><td>{here:,} of {every:,}</td>"
        f"<td>{here / every / share:.2f}</td></tr>"
        for value, here, every in counts[:_SHOWN]
    )
    more = f"<tr><td colspan=3>… {len(counts) - _SHOWN} more</td></tr>" if len(counts) > _SHOWN else ""
    head = "".join(f"<th>{text}</th>" for text in (html.escape(name), "marked", "lift"))
    return f"<table style='border-spacing:8px 0;text-align:right'><tr>{head}</tr>{rows}{more}</table>"


def _column_of_codes(columns: Mapping[str, np.ndarray]) -> str:
    """The column that has codes as a code table numbers them; empty where there is none."""
    return next((name for name in ("symbol", "code") if name in columns), "")


def _order(value: Any) -> tuple:
    return (isinstance(value, str), value)
