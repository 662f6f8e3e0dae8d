"""Small notebooks for tests of what finds, checks, executes and publishes notebooks."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

PARAMETERS = """\
data: str = "synthetic"  # which data
preset: str = "demo"  # scale and method
seed: int = 0  # of everything
count: int = 3  # points
rate: float = 0.5  # a rate
quick: bool = False  # a switch
sizes: tuple = (1, 2)  # some sizes
options: dict = {}  # further fields of Params"""


def make_notebook(path: Path, *cells: str, parameters: str = PARAMETERS, title: str = "Tiny") -> Path:
    """Write a notebook: heading, parameters cell, then ``cells``; those that begin with # are markdown."""
    book = new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}})
    book.cells = [
        new_markdown_cell(f"# {title}"),
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
    ]
    book.cells += [new_markdown_cell(c) if c.startswith("#") else new_code_cell(c) for c in cells]
    for number, cell in enumerate(book.cells):
        cell.id = f"cell-{number}"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(book, path)
    return path
