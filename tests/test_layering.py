"""Every module knows only the modules before it, and importing any of the light ones is cheap."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

from srcid.problems import PlainError

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("torch", "plotly", "umap", "sklearn", "pandas", "papermill", "openTSNE", "ipywidgets", "matplotlib")
LIGHT = (
    "params",
    "features",
    "codes",
    "symbols",
    "statistics",
    "training",
    "evaluation",
    "codebook",
    "maps",
    "information",
    "runs",
    "__main__",
)


def test_the_layers_hold():
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "10 kept, 0 broken" in found.stdout


def test_importing_the_light_modules_is_cheap():
    names = ", ".join(["srcid", *(f"srcid.{module}" for module in LIGHT)])
    code = f"import {names}, sys; print([m for m in {HEAVY} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.stdout.strip() == "[]", found.stdout + found.stderr


def test_every_error_of_ours_is_told_in_notebooks_without_a_traceback():
    """Errors are how users hear of their mistakes, whoever raises them."""
    classes = [
        (file, node)
        for file in sorted((ROOT / "srcid").rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef) and node.name.endswith(("Error", "Refused", "Failed")) and node.name[0] != "_"
    ]
    names = {node.name for _, node in classes}
    assert {"StoreError", "TrainingError", "DiskError", "MediaError", "RunFailed"} <= names
    for file, node in classes:
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        assert issubclass(getattr(importlib.import_module(module), node.name), PlainError) or node.name == "PlainError"
