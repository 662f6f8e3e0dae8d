"""What a person does with a notebook in JupyterLab, and what must then hold; shared by the tests here."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat

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


def until(page, script, arg=None, seconds=20):
    """What a script gives once it can: figures are drawn anew behind the page's back, and are half there meanwhile."""
    attempt = f"arg => {{ try {{ return ({script})(arg); }} catch (error) {{ return null; }} }}"
    return page.wait_for_function(attempt, arg=arg, timeout=1000 * seconds).json_value()


def at_rest(page, look):
    """What ``look()`` sees, once it is the same twice; None is nothing. JupyterLab lays out on after a scroll."""
    before = None
    for _ in range(80):
        seen = look()
        if seen is not None and seen == before:
            return seen
        before = seen
        page.wait_for_timeout(250)
    raise AssertionError(f"found a place that does not come to rest: {seen}")


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
    """Keep screenshots of the whole notebook, light and dark, where somebody asks for them."""
    if lab.artefacts is None:
        return
    for theme in ("Dark", "Light"):  # the last one stays for the next test
        page.evaluate(
            "theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})",
            f"JupyterLab {theme}",
        )
        page.wait_for_timeout(1500)
        lab.whole(page, f"{name}_{theme.lower()}")
