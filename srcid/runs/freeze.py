"""Executed notebooks as they are committed: text, tables and still pictures."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

from srcid.problems import ProblemsError
from srcid.runs.pictures import render
from srcid.runs.report import PLOTLY, VIEWS, read_notebooks

LARGEST = 1_000_000  # bytes of a committed notebook
_VOLATILE = ("papermill", "execution", "widgets", "ExecuteTime", "collapsed")


class FreezeError(ProblemsError):
    """A notebook that cannot be committed as it is."""


def freeze(executed: str | Path, target: str | Path) -> int:
    """Write an executed notebook as it is committed, with its ``.py`` twin; return its size in bytes.

    Text, tables, players and static pictures stay; plotly figures become PNG. Widget state, views, timing and
    other metadata that change from run to run go, and so does what papermill injected.

    Raises:
        ReportError: ``executed`` is missing or damaged.
        FreezeError: an output is an error, or the file would exceed 1 MB.
        PictureError: no PNG can be made.
    """
    import nbformat
    from jupytext.cli import jupytext

    [notebook], target = read_notebooks([executed]), Path(target)
    injected = {"injected-parameters", "papermill-error-cell-tag"}
    notebook.cells = [cell for cell in notebook.cells if injected.isdisjoint(cell.metadata.get("tags", []))]
    for cell in notebook.cells:
        for key in _VOLATILE:
            cell.metadata.pop(key, None)
        if cell.cell_type == "code":
            if any(output.output_type == "error" for output in cell.outputs):
                raise FreezeError(f"{executed} ends in an error; only a clean run can be committed")
            cell.outputs = _joined([output for output in map(_still, cell.outputs) if output is not None])
    notebook.metadata = nbformat.from_dict(
        {key: notebook.metadata[key] for key in ("jupytext", "kernelspec") if key in notebook.metadata}
        | {"language_info": {"name": "python"}}
    )
    content = nbformat.writes(notebook) + "\n"
    size = len(content.encode())
    if size >= LARGEST:
        heavy = max(notebook.cells, key=lambda cell: len(json.dumps(cell.get("outputs", []))))
        line = heavy.source.strip().splitlines()[0]
        raise FreezeError(
            f"{target.name} would have {size / 1e6:.1f} MB, need less than {LARGEST / 1e6:.0f}; "
            f"most of it comes from the cell that begins '{line}'"
        )
    target.write_text(content, encoding="utf-8")
    jupytext(["--quiet", "--to", "py:percent", "--output", str(target.with_suffix(".py")), str(target)])
    return size


def _still(output: Any) -> Any:
    """One output without what moves: plotly as PNG, no widgets; ``None`` if nothing is left."""
    if output.output_type == "stream":
        return output if output.name == "stdout" else None
    data = output.get("data", {})
    figure = data.pop(PLOTLY, None)
    if data.pop(VIEWS, None) is not None:
        return None
    if figure is not None:
        data.clear()
        data["image/png"] = base64.b64encode(_png(figure)).decode()
    output.metadata = {}
    return output if data else None


def _joined(outputs: list[Any]) -> list[Any]:
    """Join printed text that arrived in pieces: the pieces depend on timing."""
    joined: list[Any] = []
    for output in outputs:
        if joined and output.output_type == joined[-1].output_type == "stream":
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def _png(figure: dict[str, Any]) -> bytes:
    """A PNG with a palette of 256 colours, a quarter of the size: a notebook has room for more figures."""
    import plotly.graph_objects as go
    from PIL import Image

    from srcid.style import picture

    drawing = go.Figure(data=figure["data"], layout=figure.get("layout", {}), skip_invalid=True)
    small = io.BytesIO()
    still = Image.open(io.BytesIO(render(picture(drawing), "png")))
    # dithering would put a grain on even areas
    still = still.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    still.save(small, "PNG", optimize=True)
    return small.getvalue()
