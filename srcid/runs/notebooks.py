"""Notebooks and their parameters: found, checked and converted before anything runs.

A notebook is what its ``.py`` twin says: JupyterLab saves edits and outputs into an ``.ipynb`` without being asked, and
none of that may change what a command runs. papermill only warns about a name that a notebook does not have, and
injects any type; here a misspelt name, a wrong type and a value out of range are refused, all at once, in words.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from srcid.features import FeatureStore
from srcid.features.source import DATA_SETS, check_data, clips_of, fingerprint, open_data
from srcid.files import whole_file
from srcid.params import ParameterError, Params, resolve, suggest
from srcid.runs.folders import Run, RunError, home
from srcid.runs.grid import unfold
from srcid.values import Word, finite, plain, shorten

Declared = Mapping[str, tuple[type | None, Any]]  # type and default of each parameter
_TYPES = {"bool": bool, "int": int, "float": float, "str": str, "list": list, "tuple": tuple, "dict": dict}


def find_notebook(notebook: str | Path) -> Path:
    """Return the path of a notebook named ``02_train``, ``notebooks/02_train.ipynb`` or by any path.

    A bare name is one of the project's ``notebooks/`` first, and only then of the folder one happens to be in.

    Raises:
        RunError: there is no such notebook; the message suggests one.
    """
    if not isinstance(notebook, str | os.PathLike):
        raise RunError(f"found {shorten(notebook)} for a notebook; need its name or path")
    path, shelf = Path(notebook), home() / "notebooks"
    name = path if path.suffix == ".ipynb" else path.parent / (path.name.removesuffix(".py") + ".ipynb")
    places = [name, home() / name, shelf / name]
    for candidate in places[::-1] if str(notebook) == name.stem else places:
        if os.path.isfile(candidate):  # False also for names that no file can have
            return candidate.resolve()
    known = sorted(p.stem for p in shelf.glob("*.ipynb"))
    there = f"; there are {', '.join(known)}" if known else ""
    raise RunError(f"there is no notebook {shorten(str(notebook))}{suggest(path.stem, known)}{there}")


def read_notebook(path: Path) -> Any:
    """Return a notebook as nbformat has it: the cells of its jupytext twin, where it has one, without outputs.

    Raises:
        RunError: the file is no notebook.
    """
    with quick_imports():
        import jupytext
        import nbformat

    twin = path.with_suffix(".py")
    try:
        text = twin.read_text(encoding="utf-8") if twin.is_file() else ""
        if not text.startswith("# ---\n# jupyter:"):  # none, or a module that happens to have the same name
            return nbformat.read(path, as_version=4)
        book = jupytext.reads(text, fmt="py:percent")
    except Exception as error:  # whatever the reader stumbles upon: no JSON, no UTF-8, JSON of something else
        raise RunError(f"{path} is no notebook, or a damaged one ({first_line(error)})") from None
    book.metadata.setdefault("kernelspec", {"name": "python3", "display_name": "Python 3", "language": "python"})
    book.metadata["jupytext"].pop("text_representation", None)  # of the twin
    for number, cell in enumerate(book.cells):
        cell.id = f"cell-{number}"  # jupytext draws them by chance
    return book


def working_copies(anew: bool = False) -> list[str]:
    """Copy the project's notebooks to ``notebooks/work/``, where people edit and run them, and return what to tell.

    git ignores the copies. Those that are there are kept.

    Args:
        anew: replace them, edits and all.

    Raises:
        RunError: there are no notebooks.
    """
    shelf = home() / "notebooks"
    originals = sorted(shelf.glob("*.ipynb"))
    if not originals:
        raise RunError(f"there are no notebooks in {shelf}; need the project's folder, here or as SRCID_HOME")
    (shelf / "work").mkdir(exist_ok=True)
    older = []
    for original in originals:
        copy = shelf / "work" / original.name
        if anew or not copy.exists():
            with whole_file(copy) as draft:
                shutil.copyfile(original, draft)
        elif copy.stat().st_mtime < original.stat().st_mtime:
            older.append(original.stem)
    return [f"newer than your copy: {', '.join(older)}; --anew takes them all, and drops your edits"] if older else []


def open_store(data: str, generator: Mapping[str, Any] | None = None, fsdd: str = "") -> FeatureStore:
    """Return the store that a notebook's parameters of these names say.

    A path may be relative to the project, too: a working copy of a notebook lies deeper than its original.

    Args:
        data: ``digits``, ``synthetic``, or the folder of a store.
        generator: options of the data set.
        fsdd: folder of recordings, one of these options.

    Raises:
        StoreError, ParameterError: as :func:`srcid.features.open_data`.
    """
    return open_data(*_data_source(data, generator, fsdd))


def _data_source(data: str, generator: Mapping[str, Any] | None, fsdd: str) -> tuple[str, Path, dict[str, Any]]:
    """Arguments of :func:`open_data`."""
    options = {**(generator or {}), "fsdd": _located(fsdd)} if fsdd else dict(generator or {})
    return data if data in DATA_SETS else _located(data), home() / "data" / "stores", options


def _located(path: str) -> str:
    """An absolute path for one that exists, seen from here or from the project."""
    for place in (Path(os.path.expanduser(path)), home() / path):
        if path and os.path.exists(place):
            return str(place.resolve())
    return path


def check_parameters(notebook: str | Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values``, checked against the parameters cell of ``notebook`` and converted for papermill.

    A name that is no parameter of the notebook but a field of :class:`Params` goes into the notebook's
    ``options``. A :class:`srcid.values.Word`, from a command line, is read by the declared type: ``3``, ``true``,
    ``1,2``, ``{"beta": 0.5}``; any other value has that type already.
    A notebook with the parameters ``data`` and ``generator`` opens these data (with its ``fsdd``, if it has that):
    whether they can be opened is checked too, by :func:`srcid.features.source.check_data`.

    Raises:
        ParameterError: unknown names, wrong types, values out of range, unusable data; all reported at once.
    """
    return check([find_notebook(notebook)], values)[0].given


def check_job(notebooks: Sequence[str | Path], values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Do so for notebooks run one after the other: each gets the names it has; each name needs a taker."""
    return [checked.given for checked in check([find_notebook(n) for n in notebooks], values)]


class Checked(NamedTuple):
    """Parameters of a notebook that can be used.

    Attributes:
        given: what the notebook is given.
        defaults: its own value of each of its parameters.
        params: the resolved :class:`Params`, where it has ``options``.
        data: what tells the data that it reads from others; empty if it has no parameters of data.
    """

    given: dict[str, Any]
    defaults: dict[str, Any]
    params: Params | None
    data: str


def check(notebooks: Sequence[Path], values: Mapping[str, Any], names: Declared | None = None) -> list[Checked]:
    """Do as :func:`check_job`, and return all that is known of each notebook's parameters then.

    Args:
        names: parameters of the notebooks, where they are known without reading them.
    """
    everything = [names or declared(path) for path in notebooks]
    fields = set(Params.model_fields)
    known = {name for names in everything for name in names}
    known |= fields if any("options" in names for names in everything) else set()
    where = " or ".join(path.stem for path in notebooks)
    if not isinstance(values, Mapping):
        raise ParameterError(f"found {shorten(values)} for parameters; need a dict of values by name")
    unknown = [n for n in values if n not in known]
    problems = [f"{shorten(n)} is no parameter of {where}{suggest(str(n), sorted(known))}" for n in unknown]
    values, wrong = _plain({n: v for n, v in values.items() if n in known})
    problems += wrong
    if "stages" in known:  # else quantizer is a word of the notebook's own
        if "stages" in values and len(unfold("quantizer", values.get("quantizer"))) > 1:
            problems.append(f"found stages beside quantizer={values['quantizer']}; leave stages out, or the number")
        values = {n: v for name, value in values.items() for n, v in unfold(name, value).items()}
    checked = []
    for path, names in zip(notebooks, everything, strict=True):
        own: dict[str, Any] = {}
        for name in [n for n in values if n in names]:
            try:
                own[name] = _convert(values[name], names[name][0])
            except ValueError as error:
                problems.append(f"{name}={shorten(values[name])}: {error}")
        unread = {n for n in ("data", "fsdd", "generator") if n in values and n in names and n not in own}
        source = ""
        if {"data", "generator"} <= names.keys() and not unread:
            wrong, source = _data(own, names, path.parent)
            problems += wrong
        problems += _run(own["run"]) if own.get("run") else []
        params = None
        if "options" in names:
            options = dict(own.get("options", names["options"][1]) or {})
            options |= {n: _read_field(values[n], n) for n in values if n in fields - set(names)}
            for name in sorted(options.keys() & names.keys()):
                problems.append(f"options names '{name}', a parameter of the notebook itself; say {name}=VALUE")
                del options[name]
            flat = {n: own.get(n, default) for n, (_, default) in names.items() if n in fields}
            preset = own.get("preset", names["preset"][1]) if "preset" in names else "demo"
            try:
                params = resolve(preset, **options, **flat)
                own |= {"options": {n: plain(getattr(params, n)) for n in options}} if options else {}
            except ParameterError as error:
                problems += error.problems
        checked.append(Checked(own, {name: default for name, (_, default) in names.items()}, params, source))
    ParameterError.check("invalid parameters:", list(dict.fromkeys(problems)))
    return checked


def _data(own: dict[str, Any], names: Declared, folder: Path) -> tuple[list[str], str]:
    """What keeps a notebook in ``folder`` from opening its data, or else their fingerprint.

    Paths in ``own`` that exist become absolute.
    """
    for name, reserved in (("data", DATA_SETS), ("fsdd", ())):
        if own.get(name) and own[name] not in reserved:
            own[name] = _located(own[name])
    data, fsdd, generator = (own.get(n, names.get(n, (None, None))[1]) for n in ("data", "fsdd", "generator"))
    data, made, options = _data_source(data, generator, fsdd)
    with contextlib.chdir(folder):  # where the kernel will start
        if problems := check_data(data, made, options):
            return problems, ""
        clips, row = clips_of(data, options), own.get("row", -1)
        if clips is not None and not -1 <= row < clips:  # told before training rather than after it
            problems.append(f"row={row}: these data have {clips:,} clips; need 0 to {clips - 1}, or -1")
        return problems, fingerprint(data, options)


def _run(run: str) -> list[str]:
    """What keeps a notebook from reading the run that its parameter ``run`` names."""
    try:
        Run.open(run)
    except RunError as error:
        return [f"run={shorten(run)}: {error}"]
    return []


def declared(notebook: Path) -> Declared:
    """Type and default of each parameter of a notebook: what its first cell with the tag ``parameters`` assigns.

    A name without annotation has the type of its default. papermill reads lines rather than Python: it would pass over
    one with a second ``=`` in it, as in a text that has one.

    Raises:
        RunError: the file is no notebook, or that cell is no Python.
    """
    book = read_notebook(notebook)
    cell = next((cell for cell in book.cells if "parameters" in cell.metadata.get("tags", ())), None)
    try:
        body = ast.parse(cell.source if cell else "").body
    except SyntaxError as error:
        raise RunError(f"{notebook}: its parameters cell is no Python ({first_line(error)})") from None
    names = {}
    for node in body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            try:
                default = ast.literal_eval(node.value)
            except ValueError:
                default = None
            word = re.split(r"\W", ast.unparse(node.annotation))[0] if isinstance(node, ast.AnnAssign) else ""
            kind = _TYPES.get(word) or (type(default) if type(default) in _TYPES.values() else None)
            names |= {target.id: (kind, default) for target in targets if isinstance(target, ast.Name)}
    return names


@contextlib.contextmanager
def quick_imports() -> Iterator[None]:
    """Let what is imported within leave out a grammar of international addresses.

    jsonschema, on which nbformat stands, would parse it on import (1.7 s), to check a format that notebooks
    do not have.
    """
    grammar = "rfc3987_syntax"
    if "jsonschema" in sys.modules or grammar in sys.modules:
        yield
        return
    sys.modules[grammar] = None  # type: ignore[assignment]  # importing it fails, which jsonschema allows for
    try:
        yield
    finally:
        del sys.modules[grammar]


def first_line(error: Exception) -> str:
    """What an error is and the beginning of what it says, for a sentence about it."""
    return f"{type(error).__name__}: {error}".splitlines()[0][:120]


def _plain(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Values as JSON has them, and what is wrong with the others."""
    found, problems = {}, []
    for name, value in values.items():
        try:
            found[name] = plain(value)
            if not finite(found[name]):
                raise ValueError("found a number that is not finite")
        except ValueError as error:
            found.pop(name, None)
            problems.append(f"{name}: {error}")
    return found, problems


def _convert(value: Any, kind: type | None) -> Any:
    """Return a plain value as ``kind``: words are read, anything else must have the type already."""
    if kind in (None, str) and isinstance(value, str):
        there = os.sep in value and os.path.exists(Path(value))  # kernels start in another folder
        return str(Path(value).resolve()) if there else str(value)
    if kind is None:
        return value
    word = isinstance(value, Word)
    if word and kind in (list, tuple, dict):
        value = _split(value)
    if kind is tuple:  # papermill writes lists
        kind = list
    try:
        return TypeAdapter(kind).validate_python(value, strict=not word)
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        raise ValueError(f"{message[0].lower()}{message[1:]}") from None


def _read_field(value: Any, field: str) -> Any:
    """Return the value of a field of :class:`Params`: words are read by its type, as far as they fit it."""
    if not isinstance(value, Word):
        return value
    annotation = Params.model_fields[field].annotation
    text = _split(value) if "tuple" in str(annotation) else str(value)
    with contextlib.suppress(ValidationError):
        return TypeAdapter(annotation).validate_python(text)
    return text  # which the field refuses


def _split(word: str) -> Any:
    """Read a word as JSON, literal or list separated by commas."""
    for read in (json.loads, ast.literal_eval):
        with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            found = plain(read(word))
            return found if isinstance(found, dict | list) else [found]
    return [part.strip() for part in word.split(",") if part.strip()]
