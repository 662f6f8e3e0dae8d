"""Every estimate of a run in full, chosen by question, layer, modality and estimator."""

from __future__ import annotations

from typing import Any

from srcid.widget import Guard, framed, redraw


class InformationBrowser:
    """Choose a question, a layer, a modality and an estimator; see that number's seeds, null, fit and flags.

    Args:
        measurements: results of :func:`srcid.information.disentanglement.measure`; nothing is computed here.
        modalities: of the run in the store's order, which fixes their colours.

    Raises:
        ValueError: there is nothing measured to choose from.

    ``bracket`` draws all estimators of the chosen pair, ``card`` the chosen one in full;
    ``bracket_figure`` and ``estimate_card`` of :mod:`srcid.information.figures.brackets` are their static forms.
    """

    def __init__(self, *measurements: Any, modalities: tuple[str, ...] = ()) -> None:
        import ipywidgets
        import plotly.graph_objects as go

        self.modalities = tuple(modalities)
        self._whole = {pair: found for found in measurements for pair in found.brackets}
        if not self._whole:
            raise ValueError("found no measured pair; need at least one, see Measurements.missing for reasons")
        self.guard = Guard()
        questions = list(dict.fromkeys(pair.question for pair in self._whole))
        self.question = ipywidgets.Dropdown(options=questions, description="question")
        self.layer = ipywidgets.Dropdown(description="layer")
        self.pair = ipywidgets.Dropdown(description="pair", layout=dict(width="280px"))
        self.estimator = ipywidgets.Dropdown(description="estimator")
        self.bracket, self.card = go.FigureWidget(), go.FigureWidget()
        self._filling = False
        self.guard(self._offer_layers)
        steps = {self.question: self._offer_layers, self.layer: self._offer_pairs, self.pair: self._offer_estimators}
        for menu, then in (*steps.items(), (self.estimator, self._draw)):
            menu.observe(lambda _, then=then: None if self._filling else self.guard(then), "value")
        menus = [self.question, self.layer, self.pair, self.estimator]
        choices = ipywidgets.HBox(menus, layout=dict(flex_flow="row wrap"))
        self.widget = ipywidgets.VBox([choices, self.guard.message, framed(self.bracket), framed(self.card)])

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return self.widget._repr_mimebundle_(**kwargs)

    @property
    def chosen(self) -> Any:
        """The pair that is shown."""
        return self.pair.value

    @property
    def _found(self) -> Any:
        return self._whole[self.pair.value].brackets[self.pair.value]

    def _pairs(self) -> list[Any]:
        chosen = (self.question.value, self.layer.value)
        return [pair for pair in self._whole if (pair.question, pair.layer) == chosen]

    def _offer(self, menu: Any, options: list[Any], then: Any) -> None:
        """Give a menu new options, keep the chosen one where it is still there, and go on."""
        before = menu.value
        values = [option[1] if isinstance(option, tuple) else option for option in options]
        self._filling = True
        try:
            menu.options = options
            menu.value = before if before in values else values[0]
        finally:
            self._filling = False
        then()

    def _offer_layers(self) -> None:
        layers = {p.layer for p in self._whole if p.question == self.question.value}
        self._offer(self.layer, sorted(layers), self._offer_pairs)

    def _offer_pairs(self) -> None:
        self._offer(self.pair, [(str(pair), pair) for pair in self._pairs()], self._offer_estimators)

    def _offer_estimators(self) -> None:
        self._offer(self.estimator, list(self._found.estimates), self._draw)

    def _draw(self) -> None:
        from srcid.information.figures.brackets import bracket_figure, estimate_card
        from srcid.information.figures.estimators import pair_color
        from srcid.style import modality_colors

        pair, name = self.pair.value, self.estimator.value
        found = self._found
        color = pair_color(pair, modality_colors(self.modalities or pair.modalities))
        redraw(self.bracket, bracket_figure(self._whole[pair].only(pair), self.modalities, list(found.estimates)))
        redraw(self.card, estimate_card(pair, found, name, color))
