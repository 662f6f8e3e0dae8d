"""The animated picture of the README: somebody asks the code explorer what means "seven", listens, and goes on.

No test by itself, so it is named when it is wanted. It takes the newest finished run of the default data, and writes
``docs/results/explorer.webp``::

    ./lab run
    .venv/bin/python -m pytest -m browser tests/browser/animation.py
"""

from __future__ import annotations

import io

import nbformat
import pytest
from PIL import Image, ImageDraw

from srcid import runs

pytestmark = pytest.mark.browser

WORD = "seven"
SOURCE = """\
from srcid.codebook.browser.explorer import CodeExplorer
from srcid.codes import CodeTable

explorer = CodeExplorer(CodeTable.open({codes!r}), clips="test")
explorer"""
WIDTH, HEIGHT = 1280, 720
LARGEST = 1_500_000  # bytes
POINTER = [(0, 0), (0, 21), (5, 16), (9, 24), (12, 22), (8, 15), (15, 15)]
PAGE = "[...document.querySelectorAll('.widget-html-content')].find(e => /^\\s*Layer \\d, code/.test(e.textContent))"


class Film:
    """Frames of a page with a pointer, which the screenshots of a headless browser lack."""

    def __init__(self, page):
        self.page, self.at, self.frames, self.durations = page, (WIDTH * 0.6, HEIGHT * 0.5), [], []

    def keep(self, milliseconds):
        """Add what is seen now."""
        frame = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        x, y = self.at
        ImageDraw.Draw(frame).polygon([(x + a, y + b) for a, b in POINTER], fill="black", outline="white")
        self.frames.append(frame)
        self.durations.append(milliseconds)

    def point(self, target, steps=4):
        """Move the pointer to the middle of an element."""
        box = target.bounding_box()
        goal = box["x"] + min(box["width"] / 2, 60), box["y"] + box["height"] / 2
        start = self.at
        for step in range(1, steps + 1):
            self.at = tuple(a + (b - a) * step / steps for a, b in zip(start, goal, strict=True))
            self.page.mouse.move(*self.at)
            self.keep(70)

    def press(self, target):
        """Click on an element and wait for the page to be still."""
        self.point(target)
        self.page.mouse.click(*self.at)
        self.page.wait_for_timeout(1500)

    def scroll(self, by):
        """Turn the wheel by ``by`` pixels, in three turns."""
        for _ in range(3):
            self.page.mouse.wheel(0, by / 3)
            self.page.wait_for_timeout(300)
            self.keep(90)

    def save(self, path):
        options = dict(save_all=True, append_images=self.frames[1:], duration=self.durations, loop=0)
        self.frames[0].save(path, quality=72, method=2, **options)


def test_the_explorer_is_filmed(lab):
    run = runs.latest("02_train")
    assert run.status["values"]["data"] == "digits", f"{run.name} is no run of the default data; make one: ./lab run"
    cell = nbformat.v4.new_code_cell(SOURCE.format(codes=str(run.codes)))
    cell.metadata["jupyter"] = {"source_hidden": True}
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebook.metadata["kernelspec"] = dict(name="python3", display_name="Python 3", language="python")
    nbformat.write(notebook, lab.folder / "explorer.ipynb")
    page = lab.open("explorer.ipynb")
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
    for command in ("application:toggle-left-area", "application:toggle-header", "notebook:run-all-cells"):
        page.evaluate("command => window.jupyterapp.commands.execute(command)", command)
    page.wait_for_function(f"() => {PAGE}", timeout=90_000)
    page.wait_for_timeout(2000)
    page.evaluate("document.querySelector('.jp-OutputArea-output').scrollIntoView()")
    page.wait_for_timeout(500)

    film = Film(page)
    film.keep(1600)
    box = page.get_by_placeholder("a code's number, or a class")
    film.press(box)
    for letter in WORD:
        page.keyboard.type(letter)
        film.keep(110)
    page.keyboard.press("Enter")
    page.wait_for_function(f"() => {PAGE}.textContent.includes('event: {WORD}')", timeout=20_000)
    page.wait_for_timeout(1500)
    film.keep(2800)
    film.press(page.locator("button[data-play]").first)
    film.keep(1200)
    film.scroll(420)
    film.keep(1800)
    film.scroll(-420)
    film.press(page.locator(".widget-hbox:has-text('nearest codes') button:visible").first)
    film.keep(2000)
    film.scroll(page.get_by_text("classes with the code").first.bounding_box()["y"] - 120)
    film.keep(3000)

    path = runs.home() / "docs" / "results" / "explorer.webp"
    film.save(path)
    assert path.stat().st_size < LARGEST
    assert lab.complaints == [] and lab.foreign == []
