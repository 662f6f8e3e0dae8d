"""A store to leaf through, clip by clip."""

from __future__ import annotations

import html
from typing import Any

from srcid.widget import Guard, View, framed, redraw


class ClipBrowser(View):
    """Leaf through the clips of a store: a split, a slider, the clip in all modalities, its sounds.

    Args:
        store: a feature store.
        clip: row to begin with; it must be in a split.

    Raises:
        ValueError: the clip is in no split.
    """

    def __init__(self, store: Any, clip: int = 0) -> None:
        import ipywidgets
        import plotly.graph_objects as go

        self.store = store
        split = next((name for name, rows in store.splits.items() if clip in rows), None)
        if split is None:
            raise ValueError(f"clip {clip} is in no split; choose a row of {', '.join(store.splits)}")
        rows = list(store.splits[split])
        self.split = ipywidgets.Dropdown(options=list(store.splits), value=split, description="split")
        self.slider = ipywidgets.IntSlider(
            rows.index(clip),
            0,
            len(rows) - 1,
            description="clip",
            continuous_update=False,
            layout=dict(width="480px"),
        )
        self.guard = Guard()
        self.players = ipywidgets.HBox()
        self.view = go.FigureWidget()
        view = framed(self.view)
        self.guard(self._show)
        self.split.observe(lambda _: self.guard(self._choose_split), "value")
        self.slider.observe(lambda _: self.guard(self._show), "value")
        self.widget = ipywidgets.VBox(
            [ipywidgets.HBox([self.split, self.slider]), self.guard.message, self.players, view]
        )

    @property
    def clip(self) -> int:
        """Row of the clip that is shown."""
        return int(self.store.splits[self.split.value][self.slider.value])

    def _choose_split(self) -> None:
        rows = self.store.splits[self.split.value]
        before = self.slider.value
        self.slider.value = 0
        self.slider.max = len(rows) - 1
        if before == 0:  # the slider did not move, so nothing else will redraw
            self._show()

    def _show(self) -> None:
        import ipywidgets
        from IPython.display import Audio

        from srcid.features.clip_media import clip_media
        from srcid.features.figures import clip_view

        media = clip_media(self.store, self.clip)
        figure = clip_view(self.store, self.clip, media)
        redraw(self.view, figure)
        self.players.children = [
            ipywidgets.HTML(f"{html.escape(m)} {Audio(samples, rate=rate)._repr_html_()}")
            for m, (samples, rate) in media.sounds.items()
        ]
        if media.problems:
            raise RuntimeError("; ".join(media.problems[:3]))
