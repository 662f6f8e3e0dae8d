"""Retrieval to leaf through: choose who asks and who answers, see the nearest clips, hear those that have a sound."""

from __future__ import annotations

import html
from typing import Any

from srcid.widget import Guard, framed, redraw


class RetrievalGallery:
    """A gallery of queries and their nearest clips, with players.

    Args:
        results: of :func:`srcid.evaluation.retrieval.code_retrieval`.
        table: the code table it is of.
        store: the feature store behind it, for pictures, words and sounds; None for codes alone.
        direction: (query, target) modalities to begin with.
        queries, top: how many are shown.

    Raises:
        ValueError: there are no scores, or none of that direction.
    """

    def __init__(
        self,
        results: Any,
        table: Any,
        store: Any = None,
        direction: tuple[str, str] | None = None,
        queries: int = 5,
        top: int = 5,
    ) -> None:
        import ipywidgets
        import plotly.graph_objects as go

        self.table, self.store, self.queries, self.top = table, store, queries, top
        self.scores = {(s.query, s.target, s.representation): s for s in results.scores}
        start = next((key for key in self.scores if direction in (None, key[:2])), None)
        if start is None:
            there = ", ".join(f"{a} → {b}" for a, b, _ in self.scores) or "none"
            raise ValueError(f"found no retrieval scores of {direction}; there are {there}")
        options = [(f"{a} asks, {b} answers ({name})", (a, b, name)) for a, b, name in self.scores]
        self.direction = ipywidgets.Dropdown(options=options, value=start, layout=dict(width="360px"))
        self.guard, self.players, self.view = Guard(), ipywidgets.VBox(), go.FigureWidget()
        self.guard(self._show)
        self.direction.observe(lambda _: self.guard(self._show), "value")
        self.widget = ipywidgets.VBox([self.direction, self.guard.message, framed(self.view), self.players])

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return self.widget._repr_mimebundle_(**kwargs)

    def figure(self) -> Any:
        """Return what is shown as a plain figure."""
        return self._draw()[0]

    def _draw(self) -> tuple[Any, Any, dict[int, Any]]:
        from srcid.evaluation.figures.gallery import gallery_media, retrieval_gallery
        from srcid.evaluation.retrieval import gallery

        chosen = gallery(self.scores[self.direction.value], self.queries, self.top)
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
