"""Find clips and keep them: by split, class, code and modalities that differ; a named selection is a table."""

from __future__ import annotations

import html
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

from srcid.problems import ProblemsError
from srcid.selections import SelectionView
from srcid.widget import Guard

_SHOWN = 12  # clips of a page


class ClipFinder(SelectionView):
    """Clips that fit all that is asked, the most doubtful first: to see, hear and read, and to keep under a name.

    Args:
        table: a CodeTable. Without codes (identity quantiser) the view is one sentence that says so.
        split: whose clips to begin with; empty for all.
        folder: where kept selections lie, a CSV file each and a note beside it; None keeps them in memory only.
        on_code: called with layer and code when a code was asked for, for views that follow.

    Attributes:
        widget: the view, for display.
        found: the clips as a DataFrame, see :func:`srcid.codebook.finder.find_clips`.
    """

    def __init__(self, table: Any, split: str = "", folder: str | Path | None = None,
                 on_code: Callable[[int, int], None] | None = None) -> None:  # fmt: skip
        import ipywidgets as w

        from srcid.codebook.finder import SORTS
        from srcid.symbols import labels_of

        self.table, self.on_code, self.found = table, on_code, None
        classes = [("any", ("", ""))]
        for label in labels_of(table).results:
            classes += [(f"{label.name}: {name}", (label.name, name)) for name in label.classes]
        pairs = [("any", None), *((f"{a} and {b} differ", (a, b)) for a, b in combinations(table.modalities, 2))]
        splits = [("all", ""), *((name, name) for name in table.splits)]
        self.split = w.Dropdown(options=splits, value=split if split in table.splits else "", description="split")
        self.named = w.Dropdown(options=classes, description="class")
        self.layer = w.Dropdown(options=list(range(1, table.layers + 1)), description="layer")
        self.code = w.IntText(-1, description="code", tooltip="-1: any", layout=dict(width="170px"))
        self.differ = w.Dropdown(options=pairs, description="codes")
        self.sort = w.Dropdown(options=list(SORTS), description="sort by")
        self.page = w.BoundedIntText(1, 1, 1, description="page", layout=dict(width="170px"))
        self.guard, self.said, self.view = Guard(), w.HTML(), w.HTML()
        keeping, line = self._open_selections(folder, "these clips"), dict(flex_flow="row wrap")
        self.widget = w.VBox([
            w.HBox([self.split, self.named, self.layer, self.code, self.differ, self.sort], layout=line),
            w.HBox([self.page, *keeping], layout=line), self.guard.message, self.said, self.view,
        ])  # fmt: skip
        self.guard(self._find)
        self.guard.watch(self._find, self.split, self.named, self.layer, self.code, self.differ, self.sort)
        self.guard.watch(self._tell, self.page)

    def figure(self) -> Any:
        """Return the static twin: the first page as HTML for display."""
        from IPython.display import HTML

        return HTML(self.said.value + self.view.value if self.found is not None else self.guard.message.value)

    def frame(self) -> Any:
        """Return the clips found as a DataFrame."""
        import pandas as pd

        return pd.DataFrame() if self.found is None else self.found.copy()

    def _selected(self) -> Any:
        if self.found is None or self.found.empty:
            raise ProblemsError("found no clip to keep; ask for less")
        return self.frame()

    def _find(self) -> None:
        from srcid.codebook.finder import find_clips

        label, name = self.named.value
        try:
            self.found = find_clips(
                self.table, self.split.value or None, self.layer.value, self.code.value, label or None, name,
                self.differ.value, self.sort.value,
            )  # fmt: skip
        except ValueError:  # what was found before is not what is asked now
            self.found, self.said.value, self.view.value = None, "", ""
            raise
        self.page.max = max(1, -(-len(self.found) // _SHOWN))
        self._tell()
        if self.on_code and self.code.value >= 0:
            self.on_code(self.layer.value, self.code.value)

    def _tell(self) -> None:
        from srcid.codebook.figures.tiles import found_clips
        from srcid.symbols import sample_name

        if self.found is None:
            return
        first = (min(self.page.value, self.page.max) - 1) * _SHOWN
        part = self.found.iloc[first : first + _SHOWN]
        notes = " ".join(f"{note}." for note in self.found.attrs["notes"])
        here = f"{first + 1} to {first + len(part)}" if len(part) else "none"
        sample = sample_name(self.table, self.split.value or None)
        said = f"<b>{len(self.found):,} of {sample}</b>, shown: {here}. {html.escape(notes)}"
        self.said.value = said + self._told_kept()
        self.view.value = found_clips(self.table, part, self.layer.value)
