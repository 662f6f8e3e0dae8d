"""What all widgets share: whether somebody is there to click, and showing what goes wrong in a callback."""

from __future__ import annotations

import gc
import html
from collections.abc import Callable
from typing import Any


def has_front_end() -> bool:
    """Whether somebody can click: False in scripts, and under papermill, nbconvert and nbval (no input)."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None:
        return False
    return bool(kernel.get_parent("shell").get("content", {}).get("allow_stdin"))


class Guard:
    """Runs callbacks and shows their errors in :attr:`message`; JupyterLab itself would swallow them."""

    def __init__(self) -> None:
        import ipywidgets

        self.message = ipywidgets.HTML()

    def __call__(self, action: Callable[[], None]) -> None:
        """Run ``action``; the message is then empty, or says what went wrong."""
        self.message.value = ""
        try:
            action()
        except Exception as error:
            self.message.value = f"<span style='color:#D55E00'>{html.escape(f'{type(error).__name__}: {error}')}</span>"


def redraw(view: Any, figure: Any) -> None:
    """Make a FigureWidget show ``figure``; one widget for all drawings, as each new one sends plotly.js again."""
    with view.batch_update():
        view.data = ()
        view.layout = figure.layout
        view.add_traces(figure.data)
    view._config = figure._config


def settle() -> None:
    """Keep Python's search for garbage away from all that is loaded by now, where somebody can click.

    With plotly and its like in memory, a full search takes up to half a second, and a click now and then waits
    for it. What is garbage by now goes at once; calling this again looks through everything again.
    """
    if has_front_end():
        gc.unfreeze()
        gc.collect()
        gc.freeze()
