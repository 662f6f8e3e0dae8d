"""The first two notebooks as a person uses them: opened in JupyterLab, run, looked at, touched."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest

pytestmark = pytest.mark.browser

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
TINY_MODEL = dict(
    dim=16, heads=2, specific_dim=12, pooled_dim=12, grid_channels=[8, 12], club_hidden=8, codebook_size=12,
    encoder_depth=1, batch_size=16, log_every=2, threads=1, probe_seeds=2, probe_epochs=3, lr=1e-3,
)  # fmt: skip
TINY_DATA = dict(
    train=96, val=32, test=32, classes=3, shades=2, latent=12,
    shapes={"audio": [16], "video": [3, 3, 8], "text": [16]},
)  # fmt: skip
CELLS = "() => window.jupyterapp.shell.currentWidget.content.model.toJSON().cells"


def place(lab, name, **values):
    """Copy a notebook into the lab with other values in its parameters cell, and without outputs."""
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    cell = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    for parameter, value in values.items():
        cell.source, count = re.subn(
            rf"^({parameter}: \w+ = ).*$", lambda m, v=value: m[1] + repr(v), cell.source, flags=re.MULTILINE
        )
        assert count == 1, f"{name} has no parameter {parameter}"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, lab.folder / f"{name}.ipynb")
    return f"{name}.ipynb"


def run_all(page):
    page.click('.lm-MenuBar-itemLabel:text-is("Run")')
    page.click('li[data-command="runmenu:run-all"]')


def wait_for_the_end(page, seconds):
    """Wait until every code cell has run, or one has failed; return the cells."""
    page.wait_for_function(
        f"""() => {{
            const code = ({CELLS})().filter(c => c.cell_type === 'code' && c.source.length);
            return code.every(c => c.execution_count !== null)
                || code.some(c => c.outputs.some(o => o.output_type === 'error'));
        }}""",
        timeout=1000 * seconds,
    )
    page.wait_for_timeout(1500)  # the last figures are being painted
    return page.evaluate(CELLS)


def assert_well(lab, cells):
    """No error or warning in a cell, nothing in the browser's console, no request that left the machine."""
    outputs = [o for cell in cells if cell["cell_type"] == "code" for o in cell["outputs"]]
    assert [f"{o['ename']}: {o['evalue']}" for o in outputs if o["output_type"] == "error"] == []
    assert [o["text"] for o in outputs if o.get("name") == "stderr"] == []
    assert lab.complaints == []
    assert lab.foreign == []


def painted(page):
    """Titles of the figures on the page that have something drawn in them."""
    return page.evaluate(
        """() => [...document.querySelectorAll('.js-plotly-plot')]
            .filter(plot => plot.querySelectorAll('.cartesianlayer path, .cartesianlayer image').length)
            .map(plot => plot.querySelector('.gtitle')?.textContent ?? '')"""
    )


def in_both_themes(lab, page, name):
    for theme in ("Dark", "Light"):  # the last one stays for the next test
        page.evaluate(
            "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})",
            f"JupyterLab {theme}",
        )
        page.wait_for_timeout(1500)
        lab.whole(page, f"{name}_{theme.lower()}")


def test_data_can_be_seen_heard_and_leafed_through(lab, shared):
    name = place(
        lab,
        "01_data",
        data="digits",
        fsdd=str(shared / "data/fsdd"),
        generator=dict(train=60, val=20, test=20),
    )
    page = lab.open(name)
    run_all(page)
    cells = wait_for_the_end(page, 180)
    assert_well(lab, cells)
    titles = painted(page)
    assert len(titles) == 4 and "100 clips in 3 splits" in titles[0]
    seconds = page.evaluate(
        """() => Promise.all([...document.querySelectorAll('audio')].map(a => a.readyState ? a.duration
            : new Promise(done => { a.onloadedmetadata = () => done(a.duration); a.load(); })))"""
    )
    assert len(seconds) == 2 and min(seconds) >= 5  # one in a cell, one in the browser; ten steps of half a second
    assert seconds[0] == pytest.approx(seconds[1])

    handle = page.locator(".widget-slider .noUi-handle").first
    handle.scroll_into_view_if_needed()
    handle.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "() => [...document.querySelectorAll('.gtitle')].some(t => t.textContent.startsWith('Clip 1 '))",
        timeout=20_000,
    )
    in_both_themes(lab, page, "01_data")
    assert_well(lab, page.evaluate(CELLS))
    page.close()


def test_training_is_watched_and_stopped(lab):
    name = place(lab, "02_train", generator=TINY_DATA, options={**TINY_MODEL, "epochs": 20_000})
    page = lab.open(name)
    run_all(page)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.gtitle')].some(t => /^Step \\d+: loss/.test(t.textContent))",
        timeout=120_000,
    )
    page.locator('button:has-text("Stop")').scroll_into_view_if_needed()
    page.wait_for_timeout(4000)
    first = painted(page)[0]
    lab.picture(page, "02_train_running")
    page.wait_for_timeout(4000)
    assert painted(page)[0] != first, "the curves do not move while training"

    page.click('button:has-text("Stop")')
    page.wait_for_selector("text=/stopped at step \\d+ of 120000; run the cell again/", timeout=30_000)
    cells = wait_for_the_end(page, 240)
    assert_well(lab, cells)
    text = "".join(str(o.get("text", "")) for c in cells if c["cell_type"] == "code" for o in c["outputs"])
    assert "stopped at step" in text
    # the live curves, and curves, code strip, usage and scores as static figures
    assert len(painted(page)) == 5
    in_both_themes(lab, page, "02_train")
    page.close()
