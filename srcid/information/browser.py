"""Every estimate of a run in full, chosen by question, layer, pair and estimator."""

from __future__ import annotations

from functools import partial
from typing import Any

from srcid.problems import ProblemsError
from srcid.widget import Guard, View, framed, redraw


class InformationBrowser(View):
    """Choose a question, a layer, a pair and an estimator; see that number's seeds, null, fit and flags.

    Args:
        measurements: results of :func:`srcid.information.disentanglement.measure`; nothing is computed here.
        modalities: of the run in the store's order, which fixes their colours.

    Raises:
        ProblemsError: there is nothing measured to choose from.

    ``bracket`` draws all estimators of the pair, ``card`` the chosen one in full; ``bracket_figure`` and
    ``estimate_card`` of :mod:`srcid.information.figures.brackets` are their static forms.
    """

    def __init__(self, *measurements: Any, modalities: tuple[str, ...]) -> None:
        import ipywidgets
        import plotly.graph_objects as go

        self.modalities = tuple(modalities)
        self.found = {pair: found for found in measurements for pair in found.brackets}
        if not self.found:
            raise ProblemsError("found no measured pair; need at least one, see Measurements.missing for reasons")
        self.guard = Guard()
        self.question, self.layer, self.pair, self.estimator = self.menus = [
            ipywidgets.Dropdown(description=name) for name in ("question", "layer", "pair", "estimator")
        ]
        self.pair.layout.width = "280px"
        self.bracket, self.card = go.FigureWidget(), go.FigureWidget()
        for place, menu in enumerate(self.menus):
            self.guard.watch(partial(self._choose, place), menu)
        views = [framed(self.bracket), framed(self.card)]
        self.guard(partial(self._choose, -1))
        choices = ipywidgets.HBox(self.menus, layout=dict(flex_flow="row wrap"))
        self.widget = ipywidgets.VBox([choices, self.guard.message, *views])

    def _options(self, place: int) -> list[Any]:
        pairs = [p for p in self.found if place == 0 or p.question == self.question.value]
        if place == 0:
            return list(dict.fromkeys(p.question for p in pairs))
        if place == 1:
            return sorted({p.layer for p in pairs})
        if place == 2:
            return [(str(p), p) for p in pairs if p.layer == self.layer.value]
        return list(self.found[self.pair.value].brackets[self.pair.value].estimates)

    def _choose(self, changed: int) -> None:
        """Give the menus after the changed one new options, keep what is still there, and draw."""
        from srcid.information.figures.brackets import bracket_figure, estimate_card
        from srcid.information.figures.estimators import pair_color
        from srcid.style import modality_colors

        with self.guard.quiet():
            for place in range(changed + 1, len(self.menus)):
                menu, options = self.menus[place], self._options(place)
                before, values = menu.value, [o[1] if isinstance(o, tuple) else o for o in options]
                menu.options = options
                menu.value = before if before in values else values[0]
        pair = self.pair.value
        one = self.found[pair].only(pair)
        color = pair_color(pair, modality_colors(self.modalities))
        redraw(self.bracket, bracket_figure(one, self.modalities))
        redraw(self.card, estimate_card(pair, one.brackets[pair], self.estimator.value, color))
