"""What widgets share, and cells: whether somebody is there to click, what goes wrong in a callback, tables as files."""

from __future__ import annotations

import base64
import gc
import html
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from srcid.problems import PlainError


def has_front_end() -> bool:
    """Whether somebody can click: False in scripts, and under papermill, nbconvert and nbval (no input)."""
    from IPython import get_ipython

    kernel = getattr(get_ipython(), "kernel", None)
    return kernel is not None and bool(kernel.get_parent("shell").get("content", {}).get("allow_stdin"))


def keep_to_itself() -> None:
    """Where nobody can click, let widgets made from now on tell nobody of their state.

    What executes notebooks, such as papermill, keeps that in the notebook: plotly's script, 4.5 MB, once a figure.
    """
    import comm

    if not has_front_end():
        comm.create_comm = comm.DummyComm


_LARGEST = 2**20  # bytes of a table that goes into the page as a file


def offer_csv() -> None:
    """Let every table that a cell shows offer itself as a CSV file, where somebody can click."""
    if not has_front_end():
        return
    from IPython import get_ipython

    formatter = get_ipython().display_formatter.formatters["text/html"]
    for module in ("pandas", "pandas.core.frame"):  # which of both depends on pandas' version
        formatter.for_type_by_name(module, "DataFrame", table_html)


def table_html(table: Any) -> str | None:
    """A DataFrame as notebooks show it, with a link below that saves all of it as CSV; without where it is large."""
    shown = table._repr_html_()
    if shown is not None:  # numbers with their intervals stay on one line, however narrow the page
        shown = re.sub(r"\[[\d.]+, [\d.]+\]", lambda found: found[0].replace(" ", "&nbsp;"), shown)
        shown = shown.replace(" ± ", "&nbsp;±&nbsp;").replace(" %", "&nbsp;%").replace(" *<", "&nbsp;*<")
    content = table.to_csv(index=type(table.index).__name__ != "RangeIndex").encode()
    if shown is None or len(content) > _LARGEST:
        return shown
    if not len(table.columns):  # a cell had nothing to list
        return ""
    address = f"data:text/csv;charset=utf-8;base64,{base64.b64encode(content).decode()}"
    return f"{shown}<a class='srcid-csv' download='table.csv' href='{address}'>CSV</a>"


def listing(table: Any) -> str:
    """A DataFrame as a plain HTML table for a widget: no index, names of columns flush with what is below them."""
    look = "text-align:left;vertical-align:top;padding:2px 16px 2px 0"
    rows = [("th", table.columns), *(("td", row) for row in table.itertuples(index=False))]
    lines = ("".join(f"<{tag} style='{look}'>{html.escape(str(cell))}</{tag}>" for cell in row) for tag, row in rows)
    lines = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table style='border-collapse:collapse;line-height:1.4'>{lines}</table>"


def progress(line: str) -> None:
    """Print a line on how far a cell is, in place of the one before where somebody looks on; else below it."""
    if has_front_end():
        from IPython.display import clear_output

        clear_output(wait=True)
    print(line, flush=True)


class Guard:
    """Runs callbacks and shows their errors in :attr:`message`; JupyterLab itself would swallow them."""

    def __init__(self) -> None:
        import ipywidgets

        keep_to_itself()
        self.message = ipywidgets.HTML()
        self._quiet = False

    def __call__(self, action: Callable[[], None]) -> None:
        """Run ``action``; the message is then empty, or says what went wrong: sentences of this package stand alone."""
        self.message.value = ""
        try:
            action()
        except Exception as error:
            text, plain = str(error), isinstance(error, PlainError)
            said = f"{text[:1].upper()}{text[1:]}." if plain else f"{type(error).__name__}: {text}"
            self.message.value = f"<span style='color:#D55E00'>{html.escape(said)}</span>"

    def watch(self, action: Callable[[], None], *controls: Any) -> None:
        """Run ``action`` whenever one of the ``controls`` gets another value, but not within :meth:`quiet`."""
        for control in controls:
            control.observe(lambda _: self._quiet or self(action), "value")

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Within this, controls that follow what is shown call nothing back."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False


class View:
    """What somebody works with: a cell that names it shows its :attr:`widget`."""

    widget: Any

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        return self.widget._repr_mimebundle_(**kwargs)


class ClipView(View):
    """A view of one clip at a time, which a split and a slider choose; ``_show`` draws it.

    Attributes:
        split, slider: the controls.
    """

    guard: Guard

    def _choose_among(self, splits: Mapping[str, Sequence[int]], clip: int) -> Any:
        """Make the controls, which begin at the row ``clip`` of one of the ``splits``, and return the line of both."""
        import ipywidgets as w

        self._splits = splits
        split = next(name for name, rows in splits.items() if clip in rows)
        rows = list(splits[split])
        self.split = w.Dropdown(options=list(splits), value=split, description="split")
        self.slider = w.IntSlider(
            rows.index(clip), 0, len(rows) - 1, description="clip", continuous_update=False, layout=dict(width="480px")
        )
        self.guard.watch(self._choose_split, self.split)
        self.guard.watch(self._show, self.slider)
        return w.HBox([self.split, self.slider])

    @property
    def clip(self) -> int:
        """Row of the clip that is shown."""
        return int(self._splits[self.split.value][self.slider.value])

    def _choose_split(self) -> None:
        before = self.slider.value
        self.slider.value = 0
        self.slider.max = len(self._splits[self.split.value]) - 1
        if before == 0:  # the slider did not move, so nothing else will redraw
            self._show()

    def _show(self) -> None:
        raise NotImplementedError


# Lies behind a framed figure, as large as the frame, and fits the figure to it whenever that changes. Plotly measures
# only when the window changes, which may be before the page has laid out, and keeps to a width that a layout brought.
_FIT = """export default { render({ el }) {
  Object.assign(el.style, {position: 'absolute', inset: 0, zIndex: -1, pointerEvents: 'none'});
  const observer = new ResizeObserver(() => {
    const plot = el.parentElement?.querySelector('.js-plotly-plot');
    if (!plot?.layout) return;
    delete plot.layout.width;
    plot._responsiveChartHandler?.();
  });
  observer.observe(el);
  return () => observer.disconnect();
} };"""


def framed(view: Any) -> Any:
    """A FigureWidget between its title and its caption, which are text of the page; :func:`redraw` renews all three.

    Raises:
        ValueError: the widget was drawn before, with its title and caption in the picture.
    """
    import anywidget
    import ipywidgets

    if view.data:
        raise ValueError("found a figure that is drawn already; need an empty FigureWidget, framed before its redraw")
    view._frame = ipywidgets.HTML(), ipywidgets.HTML()
    parts = [view._frame[0], view, view._frame[1], anywidget.AnyWidget(_esm=_FIT)]
    retell(view)
    return ipywidgets.VBox(parts, layout=dict(width="100%"))


def retell(view: Any) -> None:
    """Bring the text around a framed FigureWidget in line with its title and caption."""
    from srcid.style import heading, small_print

    view._frame[0].value, view._frame[1].value = heading(view), small_print(view)


def redraw(view: Any, figure: Any) -> None:
    """Make a FigureWidget show ``figure``; one widget for all drawings, as each new one sends plotly.js again."""
    from srcid.style import outside

    framed_view = hasattr(view, "_frame")
    shown = outside(figure) if framed_view else figure
    with view.batch_update():
        view.data = ()
        view.layout = shown.layout
        view.add_traces(shown.data)
    view._config = figure._config
    if framed_view:
        retell(view)


def show(view: Any) -> None:
    """Display a view to work with where somebody can, or else its still twin, ``view.figure()``."""
    from IPython.display import display

    display(view if has_front_end() else view.figure())


def freeze_loaded_objects() -> None:
    """Keep Python's search for garbage away from all that is loaded by now, where somebody can click.

    With plotly and its like in memory, a full search takes up to half a second, and a click now and then waits
    for it. What is garbage by now goes at once; calling this again looks through everything again.
    """
    if has_front_end():
        gc.unfreeze()
        gc.collect()
        gc.freeze()
