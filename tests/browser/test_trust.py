"""A notebook that JupyterLab does not trust: what it shows before somebody runs it."""

from __future__ import annotations

import nbformat
import numpy as np
import pytest

from srcid.codebook.figures.pages import _bars
from srcid.features.clip_media import Shown
from srcid.page import media_html, with_sounds
from tests.browser.steps import run_all, until

pytestmark = pytest.mark.browser

SEEN = """() => { const place = document.querySelector('#place, [data-jupyter-id=place]');
    const [note, button] = [place.firstElementChild, place.querySelector('button')];
    const marks = [...place.querySelectorAll('span')].map(s => getComputedStyle(s))
        .filter(s => s.position === 'absolute').map(s => [s.borderLeftWidth, s.borderTopWidth]);
    return [note.offsetHeight > 0 && note.textContent, button.hasAttribute('onclick'), marks]; }"""


def test_mute_buttons_are_told_of_and_bars_keep_their_marks(lab):
    sound = with_sounds(media_html(Shown("audio", np.sin(np.arange(800.0)), 8000), "a sound", "#0072B2"))
    markup = f"<div id='place'>{sound}{_bars([('a class', 0.5, '50%', 0.2, (0.4, 0.6), '#E69F00')])}</div>"
    cell = nbformat.v4.new_code_cell(f"from IPython.display import HTML\nHTML({markup!r})", execution_count=1)
    cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": markup, "text/plain": "markup"})]
    book = nbformat.v4.new_notebook(cells=[cell])
    book.metadata.kernelspec = dict(name="python3", display_name="Python 3", language="python")
    nbformat.write(book, lab.folder / "trust.ipynb")
    page = lab.open("trust.ipynb")
    said, works, marks = until(page, SEEN)
    assert "play buttons do nothing" in said and "run it" in said and not works
    assert marks == [["0px", "0px"], ["0px", "1px"], ["2px", "0px"]]  # bar, interval, tick

    run_all(page)
    until(page, "() => document.querySelector('#place button').hasAttribute('onclick')")
    assert until(page, SEEN) == [False, True, marks]
    page.close()
