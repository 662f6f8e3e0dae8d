"""One code at a time: choose it by slider, name or click; see, hear and read what it stands for."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from srcid.widget import Guard, View, freeze_loaded_objects

_FOUND = 8  # codes offered as the answer to a search, as neighbours and as companions


class CodeExplorer(View):
    """What is behind one code: its page of exemplars, near misses, classes, margins, steps, neighbours, companions.

    All controls can be reached by keyboard. A code is chosen by its number (slider), by stepping through the
    codes from the most to the least used, by a search for a number or a class, by the buttons of neighbours and
    companions, or from outside by :meth:`select`.

    Args:
        table: a CodeTable. Without codes (identity quantiser) the view is one sentence that says so.
        layer: layer to begin with, from 1.
        code: code to begin with, -1 for the most used one of the layer.
        clips: whose steps are counted and shown: split, rows, or None for all clips.
        on_code: called with layer and code after every change, for views that follow.

    Raises:
        InspectionError: no such layer or code.

    Attributes:
        widget: the view, for display.
        card: the :class:`srcid.codebook.cards.CodeCard` that is shown; None where there are no codes.
        notes: sentences on what cannot be shown of this code, and why.
    """

    def __init__(self, table: Any, layer: int = 1, code: int = -1, clips: Any = None,
                 on_code: Callable[[int, int], None] | None = None) -> None:  # fmt: skip
        import ipywidgets

        from srcid.codebook.exemplars import CodeIndex
        from srcid.symbols import InspectionError

        self.table, self.on_code, self.card = table, on_code, None
        try:
            self.index = CodeIndex(table, clips)
        except InspectionError as problem:
            self.index, self.notes = None, (str(problem),)
            self.widget = ipywidgets.HTML(html.escape(str(problem)))
            return
        self._build()
        self._rehearse()
        self.select(layer, code)
        freeze_loaded_objects()

    @property
    def layer(self) -> int:
        """Layer of the code that is shown; 0 where there are no codes."""
        return self.card.layer if self.card else 0

    @property
    def code(self) -> int:
        """The code that is shown; -1 where there are no codes."""
        return self.card.code if self.card else -1

    def select(self, layer: int, code: int = -1) -> None:
        """Show a code, -1 for the most used one of the layer; does nothing where there are no codes.

        Raises:
            InspectionError: no such layer or code.
        """
        if self.index is None:
            return
        if code < 0:
            code = int(next(iter(self.index.used(layer)), 0))
        card = self.index.look_up(layer, code, k=_FOUND)  # raises before anything has changed
        with self.guard.quiet():
            self.layers.value = layer
            self.slider.max = self.index.sizes[layer] - 1
            self.slider.value = code
        self._show(card)
        if self.on_code:
            self.on_code(layer, code)

    def follow(self, on_code: Callable[[int, int], None]) -> None:
        """Let a view follow: ``on_code`` is called with layer and code now, and after every change."""
        self.on_code = on_code
        if self.card:
            on_code(self.layer, self.code)

    def figure(self) -> Any:
        """Return the static twin: the same page as HTML for display."""
        from IPython.display import HTML

        return HTML(self.view.value if self.card else html.escape(self.notes[0]))

    def players(self) -> tuple[Any, ...]:
        """Return, for each modality that can be heard, a player of its exemplars' sounds, one after the other."""
        from IPython.display import Audio

        sounds = [self._media.sequence(m) for m in self.table.modalities] if self.card else []
        return tuple(Audio(sound[0], rate=sound[1]) for sound in sounds if sound)

    def _build(self) -> None:
        import ipywidgets as w

        self.layers = w.Dropdown(options=self.index.layers, description="layer", layout=dict(width="150px"))
        self.slider = w.IntSlider(0, 0, 1, description="code", continuous_update=False, layout=dict(width="400px"))
        self.previous, self.next = (
            w.Button(description=f"{more} used", icon=f"arrow-{side}", layout=dict(width="116px"),
                     tooltip=f"the next {more} often used code")
            for more, side in (("more", "left"), ("less", "right"))
        )  # fmt: skip
        self.search = w.Combobox(
            description="find", placeholder="a code's number, or a class", continuous_update=False,
            options=[f"{label}: {name}" for label, name in self.index.classes], layout=dict(width="300px"),
        )  # fmt: skip
        self.guard = Guard()
        self.found = JumpRow(self._jump)
        self.view = w.HTML()
        self.neighbours = JumpRow(self._jump)
        self.companions = {layer: JumpRow(self._jump) for layer in self.index.layers if len(self.index.layers) > 1}
        self.guard.watch(lambda: self.select(self.layers.value), self.layers)
        self.guard.watch(lambda: self.select(self.layer, self.slider.value), self.slider)
        self.guard.watch(self._search, self.search)
        self.previous.on_click(lambda _: self.guard(lambda: self._step(-1)))
        self.next.on_click(lambda _: self.guard(lambda: self._step(1)))
        line = dict(align_items="center", flex_flow="row wrap")
        self.widget = w.VBox([
            w.HBox([self.layers, self.slider, self.previous, self.next], layout=line),
            w.HBox([self.search, self.found.widget], layout=line),
            self.guard.message, self.neighbours.widget, *(row.widget for row in self.companions.values()), self.view,
        ])  # fmt: skip

    def _jump(self, layer: int, code: int) -> None:
        self.guard(lambda: self.select(layer, code))

    def _step(self, by: int) -> None:
        """Go to the next code in the order of use; from a code that is never used, to the least used one."""
        order = self.index.used(self.layer)
        (place,) = np.nonzero(order == self.code)
        at = int(place[0]) + by if len(place) else len(order) - 1
        self.select(self.layer, int(order[min(max(at, 0), len(order) - 1)]))

    def _search(self) -> None:
        self.found.show("", [])
        if not self.search.value.strip():
            return
        matches = self.index.search(self.layer, self.search.value, k=_FOUND)
        if matches[0].name:
            offers = [
                (self.layer, m.code, f"{m.code} · {m.purity:.0%}",
                 f"{m.purity:.0%} of the steps with code {m.code} are {m.label}: {m.name}; "
                 f"it is on {m.coverage:.0%} of these")
                for m in matches
            ]  # fmt: skip
            self.found.show(matches[0].name, offers)
        self.select(self.layer, matches[0].code)

    def _show(self, card: Any) -> None:
        from srcid.codebook.figures.pages import code_page
        from srcid.features.clip_media import card_media

        near = card_media(card.near_misses, self.table)
        self.card, self._media = card, card_media(card.exemplars, self.table)
        self.notes = tuple(dict.fromkeys([*card.notes, *self._media.problems, *near.problems]))
        self.view.value = code_page(card, self.table, self._media, near)
        self.neighbours.show("nearest codes", [
            (card.layer, n.code, f"{n.code} · {n.distance:.3g}",
             f"code {n.code}, distance {n.distance:.3g}, " + (f"{n.count:,} steps" if n.count else "never used"))
            for n in card.neighbours
        ])  # fmt: skip
        for layer, row in self.companions.items():
            row.show(f"layer {layer} there", [
                (layer, c.code, f"{c.code} · {c.share:.0%}",
                 f"layer {layer} says {c.code} at {c.share:.0%} of these places (usually {c.usual:.0%})")
                for c in card.together.get(layer, ())
            ])  # fmt: skip

    def _rehearse(self) -> None:
        """Read one reference of each kind, unseen: imports take seconds, which no click should wait for."""
        from srcid.features.clip_media import card_media, clip_step

        kinds = {}
        for m, references in (self.table.media or {}).items():
            kept = np.argwhere(references[:100] != "")
            kinds[m] = [clip_step(self.table, m, *map(int, kept[0]))] if len(kept) else []
        card_media(kinds, self.table)


class JumpRow:
    """A line of buttons, each of which goes to a code; the same buttons are used again and again."""

    def __init__(self, jump: Callable[[int, int], None]) -> None:
        import ipywidgets

        self._jump, self._targets = jump, []
        self.title = ipywidgets.HTML(layout=dict(width="104px"))
        self.buttons = [ipywidgets.Button(layout=dict(width="auto", display="none")) for _ in range(_FOUND)]
        for place, button in enumerate(self.buttons):
            button.on_click(lambda _, place=place: self._jump(*self._targets[place]))
        self.widget = ipywidgets.HBox(
            [self.title, *self.buttons], layout=dict(align_items="center", flex_flow="row wrap", display="none")
        )

    def show(self, title: str, offers: Sequence[tuple[int, int, str, str]]) -> None:
        """Offer ``[(layer, code, text, tooltip), ...]``; the line is hidden if there are none."""
        self.title.value = html.escape(title)
        self._targets = [(layer, code) for layer, code, _, _ in offers]
        for place, button in enumerate(self.buttons):
            if place < len(offers):
                button.description, button.tooltip = offers[place][2:]
            button.layout.display = "" if place < len(offers) else "none"
        self.widget.layout.display = "" if offers else "none"
