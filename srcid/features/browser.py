"""A store to leaf through, clip by clip."""

from __future__ import annotations

import html
from typing import Any

from srcid.problems import ProblemsError
from srcid.widget import ClipView, Guard, framed, redraw


class ClipBrowser(ClipView):
    """Leaf through the clips of a store: a split, a slider, the clip in all modalities, its sounds.

    Args:
        store: a feature store.
        clip: row to begin with; it must be in a split.

    Raises:
        ProblemsError: the clip is in no split.
    """

    def __init__(self, store: Any, clip: int = 0) -> None:
        import ipywidgets
        import plotly.graph_objects as go

        self.store = store
        if not any(clip in rows for rows in store.splits.values()):
            raise ProblemsError(f"clip {clip} is in no split; choose a row of {', '.join(store.splits)}")
        self.guard, self.players, self.view = Guard(), ipywidgets.HBox(), go.FigureWidget()
        line, view = self._choose_among(store.splits, clip), framed(self.view)
        self.guard(self._show)
        self.widget = ipywidgets.VBox([line, self.guard.message, self.players, view])

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
