"""All codes at once: who uses them and what they go with; a click or a slider chooses one, other views follow."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

from srcid.problems import ProblemsError
from srcid.widget import Guard, View, framed, listing, redraw

_SHOWN = 10  # rows of the table
# orders of the table: a column of Association.frame(), and whether the smallest come first
_SORTS = {"surest": ("low", False), "purity": ("purity", False), "lift": ("lift", False), "p": ("p", True),
          "steps": ("steps", False), "code": ("code", True), "class": ("class", True)}  # fmt: skip


class UsageBrowser(View):
    """The codes of a layer as a map: modalities that use them above, classes that they go with below.

    Layer, stage, modality and label are chosen above the map, a code by a click on its column or with the slider.
    All controls can be reached by keyboard. Below the map, a table of codes that can be sorted.

    Args:
        table: a CodeTable. Without codes (identity quantiser) the view is one sentence that says so.
        clips: name of a split, rows, or None for all clips.
        on_code: called with layer and code when one is chosen here, for views that follow.

    Attributes:
        widget: the view, for display.
        codes: the codes in the map, in its order.
        code: the chosen code, -1 for none.
    """

    def __init__(self, table: Any, clips: Any = None, on_code: Callable[[int, int], None] | None = None) -> None:
        import ipywidgets
        import plotly.graph_objects as go

        from srcid.symbols import label_names

        self.table, self.clips, self.on_code = table, clips, on_code
        self.codes: list[int] = []
        self.code = -1
        self._results: dict[tuple, Any] = {}
        narrow, labels = dict(width="auto", margin="2px 14px 2px 2px"), label_names(table)

        def choice(description: str, options: list) -> Any:
            # nothing to choose: the control stays visible and says what there is
            look = dict(layout=narrow, style=dict(description_width="initial"), disabled=len(options) < 2)
            return ipywidgets.Dropdown(options=options, description=description, **look)

        stages = [("all as one", 0), *((str(s), s) for s in range(1, table.stages + 1) if table.stages > 1)]
        modalities = [
            *([("all together", "")] if len(table.modalities) > 1 else []),
            *((m, m) for m in table.modalities),
        ]
        self.layer = choice("layer", [(str(k), k) for k in range(1, table.layers + 1)])
        self.stage = choice("stage", stages)
        self.modality = choice("modality", modalities)
        self.label = choice("label", [(name, name) for name in labels] or [("none", "")])
        if "event" in labels:
            self.label.value = "event"
        self.slider = ipywidgets.IntSlider(
            description="place", min=1, max=1, continuous_update=False, layout=dict(width="480px")
        )
        self.sort = choice("table by", list(_SORTS))
        self.guard, self.said, self.list = Guard(), ipywidgets.HTML(), ipywidgets.HTML()
        self.view = go.FigureWidget()
        line = dict(flex_flow="row wrap", align_items="center")
        self.widget = ipywidgets.VBox([
            ipywidgets.HBox([self.layer, self.stage, self.modality, self.label], layout=line),
            ipywidgets.HBox([self.slider, self.said], layout=line), self.guard.message, framed(self.view),
            ipywidgets.HBox([self.sort]), self.list,
        ])  # fmt: skip
        self.guard(self._show)
        self.guard.watch(self._show, self.layer, self.stage, self.modality, self.label)
        self.guard.watch(lambda: self.select(self.codes[self.slider.value - 1]), self.slider)
        self.guard.watch(self._tell, self.sort)

    def figure(self) -> Any:
        """Return the map as it stands as a static figure."""
        from srcid.codebook.figures.meaning import code_map, mark_code

        shared, found, notes = self._read()
        figure = code_map(shared, found, self.table.modalities, notes)
        mark_code(figure, self.code)
        return figure

    def mark(self, layer: int, code: int) -> None:
        """Mark a code that was chosen elsewhere, without telling anybody; another layer is turned to first."""
        if self.codes and not self.stage.value:
            self.layer.value = layer
            self._mark(code)

    def select(self, code: int) -> None:
        """Choose a code of the map, as a click on its column does."""
        self._mark(code)
        if self.on_code is None:
            return
        if not self.stage.value:
            self.on_code(self.layer.value, code)
        else:
            raise ProblemsError("this is a symbol of one stage; for the code behind it choose all stages as one")

    def _read(self) -> tuple[Any, Any, tuple[str, ...]]:
        """Sharing and association of what is chosen (None where there is none), and why."""
        from srcid.codebook.meaning import association
        from srcid.codebook.usage import sharing

        where = dict(layer=self.layer.value, stage=self.stage.value or None)
        shared, said = self._computed(sharing, bootstrap=0, **where)
        named = dict(label=self.label.value or None, modality=self.modality.value or None)
        found, more = self._computed(association, **named, **where)
        return next(iter(shared), None), next(iter(found), None), tuple(dict.fromkeys([*said, *more]))

    def _computed(self, compute: Callable[..., Any], **case: Any) -> Any:
        """Results, one or none, and notes; computed once."""
        from srcid.symbols import for_each

        key = (compute, *case.values())
        if key not in self._results:
            self._results[key] = for_each(compute, self.table, [case | dict(clips=self.clips)])
        return self._results[key]

    def _show(self) -> None:
        figure = self.figure()
        redraw(self.view, figure)
        self.codes = list((figure.layout.meta or {}).get("codes", []))
        for trace in self.view.data:  # new traces, new callbacks
            trace.on_click(self._clicked)
        with self.guard.quiet():
            self.slider.disabled = not self.codes
            self.slider.max = max(1, len(self.codes))
        self._mark(self.code)
        self._tell()

    def _clicked(self, trace: Any, points: Any, state: Any) -> None:
        if points.xs:  # every trace hears of every click
            self.guard(lambda: self.select(self.codes[round(points.xs[0]) - 1]))

    def _mark(self, code: int) -> None:
        from srcid.codebook.figures.meaning import mark_code

        self.code = code if code in self.codes else -1
        mark_code(self.view, self.code)
        if self.code < 0:
            self.said.value = "" if code < 0 else f"code {code} is not in the map"
            return
        with self.guard.quiet():
            self.slider.value = self.codes.index(code) + 1
        self.said.value = f"<b>code {code}</b>{self._sentence(code)}"

    def _sentence(self, code: int) -> str:
        _, found, _ = self._read()
        if found is None or code not in found.codes:
            return ""
        r = found.frame().set_index("code").loc[code]
        share = f"{r['purity']:.0%} [{r['low']:.0%}, {r['high']:.0%}]"
        return html.escape(f": {r['class']} in {share} of its {r['steps']:,} steps ({found.modality}, {found.sample})")

    def _tell(self) -> None:
        """Fill the table."""
        import pandas as pd

        _, found, _ = self._read()
        if found is None:
            self.list.value = ""
            return
        column, ascending = _SORTS[self.sort.value]
        frame = found.frame().sort_values(column, ascending=ascending, kind="stable").head(_SHOWN)
        shown = {
            "code": frame["code"],
            "class": frame["class"],
            "purity, 95 % interval": [f"{r.purity:.0%} [{r.low:.0%}, {r.high:.0%}]" for r in frame.itertuples()],
            "lift": frame["lift"].map("{:.2f}".format),
            "p, corrected": frame["p"].map(lambda p: "< 0.001" if p < 1e-3 else f"{p:.3f}"),
            "steps": frame["steps"].map("{:,}".format),
            "clips": frame["clips"].map("{:,}".format),
        }
        self.list.value = listing(pd.DataFrame(shown))
