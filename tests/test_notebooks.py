"""The committed notebooks: pairs in line by content, known tags, light outputs, cells that nbval compares."""

import json
import re
from pathlib import Path

import nbformat
import pytest
from jupytext.cli import jupytext

from srcid import runs
from srcid.__main__ import MAIN_JOB
from srcid.params import Params

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
KNOWN_TAGS = {
    "parameters",  # the cell papermill and the command line look at
    "nbval-check-output",  # nbval compares this cell's output
    "nbval-skip",
    "raises-exception",
}
# Number of compared cells of each notebook: one that was stripped or retagged by accident is noticed here.
EXPECTED_CHECKS = {
    "00_your_data": 3, "01_data": 4, "02_train": 3, "03_quantizers": 3, "04_codebook": 3, "05_projection": 3,
    "06_club": 3, "07_generalization": 3, "08_ablation": 3, "index": 0, "tutorial": 3,
}  # fmt: skip


def notebook(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code_cells(name):
    return [cell for cell in notebook(name).cells if cell.cell_type == "code"]


def tags(cell):
    return set(cell.metadata.get("tags", []))


NAMES = pytest.mark.parametrize("name", sorted(EXPECTED_CHECKS))


def test_these_are_all_notebooks():
    found = {path.stem for path in FOLDER.glob("*.ipynb")}
    assert found == EXPECTED_CHECKS.keys() == {path.stem for path in FOLDER.glob("*.py")}
    assert found >= set(MAIN_JOB)


@NAMES
def test_the_pair_says_the_same(name, capsys):
    jupytext(["--quiet", "--to", "py:percent", "--output", "-", str(FOLDER / f"{name}.ipynb")])
    assert capsys.readouterr().out == (FOLDER / f"{name}.py").read_text()


def test_the_index_leads_to_all_notebooks_and_all_that_look_into_a_run_can_choose_one():
    text = (FOLDER / "index.py").read_text()
    others = [name for name in EXPECTED_CHECKS if name != "index"]
    assert all(f"[{name}]({name}.ipynb)" in text for name in others)
    for name in others:
        cells = "\n".join(cell.source for cell in code_cells(name))
        looks = bool(re.search(r"^run: str", cells, re.M))
        assert ("runs.pick(run)" in cells) == looks and (f'"{name}"' in text) == looks


@NAMES
def test_tags_are_real_ones(name):
    found = set().union(*(tags(cell) for cell in notebook(name).cells))
    assert found <= KNOWN_TAGS


@NAMES
def test_the_first_code_cell_holds_the_parameters_as_papermill_reads_them(name):
    first, *rest = code_cells(name)
    assert "parameters" in tags(first) and not any("parameters" in tags(cell) for cell in rest)
    lines = [line for line in first.source.splitlines() if line.strip()]
    form = re.compile(r"(\w+): (bool|int|float|str|list|tuple|dict) = [^=#]+  # [^=]+")
    assert all(form.fullmatch(line) for line in lines), lines
    assert runs.check_parameters(name, {}) == {}
    names = {form.fullmatch(line)[1] for line in lines}
    assert names & {"data", "run", "folder"} or name == "index"
    assert "options" not in names or {"preset", "seed"} <= names or {"presets", "seeds"} <= names
    # one word, one meaning: any other field of Params is reached through options
    assert names & set(Params.model_fields) <= {"seed"}


@NAMES
def test_it_opens_with_a_title_and_has_sections(name):
    cells = notebook(name).cells
    assert cells[0].cell_type == "markdown" and cells[0].source.startswith("# ")
    assert sum(cell.cell_type == "markdown" and "## " in cell.source for cell in cells) >= 2


@NAMES
def test_prose_needs_no_typesetting_from_elsewhere(name):
    prose = "\n".join(cell.source for cell in notebook(name).cells if cell.cell_type == "markdown")
    assert not re.search(r"\$\S[^$\n]*\$|\\\(|\\\[", prose)


@NAMES
def test_it_was_executed_from_top_to_bottom(name):
    cells = [cell for cell in code_cells(name) if cell.source.strip()]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    errors = [o for cell in cells for o in cell.outputs if o.output_type == "error"]
    assert errors == []


@NAMES
def test_outputs_are_light_and_still(name):
    path = FOLDER / f"{name}.ipynb"
    assert path.stat().st_size < 1_000_000
    book = notebook(name)
    assert set(book.metadata) <= {"kernelspec", "language_info", "jupytext"}
    kinds = {kind for cell in code_cells(name) for o in cell.outputs for kind in o.get("data", {})}
    assert kinds <= {"text/plain", "text/html", "text/markdown", "image/png", "image/jpeg", "image/svg+xml"}
    assert "image/png" in kinds or name == "08_ablation"  # which compares runs that a default run does not make
    assert "widget-view" not in json.dumps(book) and "/home/" not in json.dumps(book)
    assert all(set(cell.metadata) <= {"tags", "jupyter"} for cell in book.cells)


@NAMES
def test_the_number_of_compared_cells_is_as_expected(name):
    checked = [cell for cell in code_cells(name) if "nbval-check-output" in tags(cell)]
    assert len(checked) == EXPECTED_CHECKS[name] and (len(checked) >= 3 or name == "index")
    assert all(cell.execution_count and cell.outputs for cell in checked)
    kinds = {kind for cell in checked for o in cell.outputs for kind in o.get("data", {})}
    assert not kinds - {"text/plain", "text/html", "text/markdown"}, "pictures are not compared; show text"
