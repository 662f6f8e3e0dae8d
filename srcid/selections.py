"""Named selections: tables of clips or points, each with a name and a note, kept beside a run as files."""

from __future__ import annotations

import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

from srcid.files import whole_file
from srcid.values import reserved

if TYPE_CHECKING:
    import pandas as pd


def write_selection(folder: str | Path, name: str, table: pd.DataFrame, note: str = "") -> Path:
    """Keep a table as ``<folder>/<name>.csv``, its note beside it as ``<name>.txt``; one of that name is replaced.

    Raises:
        ValueError: the name cannot be that of a file.
    """
    name = unicodedata.normalize("NFC", name)
    if not re.fullmatch(r"\w[\w .-]{0,59}", name) or name.endswith((".", " ")) or reserved(name):
        raise ValueError(f"found the name '{name[:80]}'; need up to 60 letters, digits, spaces, dots, dashes")
    path, beside = (Path(folder) / f"{name}.{ending}" for ending in ("csv", "txt"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as draft:
        table.to_csv(draft, index=False)
    if note:
        with whole_file(beside) as draft:
            draft.write_text(note, encoding="utf-8")
    else:
        beside.unlink(missing_ok=True)
    return path


def keep_selection(
    kept: dict[str, pd.DataFrame], folder: Path | None, name: str, table: pd.DataFrame, note: str = ""
) -> None:
    """Keep a table under a name, in ``kept`` and, where there is one, in a folder; what was kept under it before goes.

    Raises:
        ValueError: the name is none for a file.
    """
    table.attrs["note"] = note
    if folder is not None:
        write_selection(folder, name, table, note)
    kept[name] = table


def read_selections(folder: str | Path) -> dict[str, pd.DataFrame]:
    """The selections kept in a folder, by name; ``attrs["note"]`` of a table is its note."""
    import pandas as pd

    found = {path.stem: pd.read_csv(path) for path in sorted(Path(folder).glob("[!.]*.csv"))}
    for name, table in found.items():
        note = Path(folder) / f"{name}.txt"
        table.attrs["note"] = note.read_text(encoding="utf-8") if note.is_file() else ""
    return found
