"""Named selections: tables of clips or points, each with a name and a note, kept beside a run as files."""

from __future__ import annotations

import html
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srcid.files import whole_file
from srcid.problems import ProblemsError
from srcid.values import reserved
from srcid.widget import Guard, View

if TYPE_CHECKING:
    import pandas as pd


class SelectionView(View):
    """A view of clips or points that can be kept under a name.

    Attributes:
        kept: named selections as DataFrames, those of earlier sessions included; ``attrs["note"]`` is the note.
        name, note, keep: the controls.
    """

    guard: Guard

    def _open_selections(self, folder: str | Path | None, what: str) -> list[Any]:
        """Read what was kept in a folder, or in none, and return the controls to keep more."""
        import ipywidgets as w

        self.folder = None if folder is None else Path(folder)
        self.kept = {} if self.folder is None else read_selections(self.folder)
        self.name = w.Text(placeholder=f"name of {what}", layout=dict(width="190px"))
        self.note = w.Text(placeholder="note", layout=dict(width="190px"))
        self.keep = w.Button(description="keep", tooltip=f"keep {what} under this name", layout=dict(width="70px"))
        self.keep.on_click(lambda _: self.guard(self._keep))
        return [self.name, self.note, self.keep]

    def keep_selection(self, name: str, note: str = "") -> None:
        """Keep what is selected under a name, and a note with it; what was kept under that name before goes.

        Where the view has a folder, ``<folder>/<name>.csv`` is the table and ``<name>.txt`` beside it the note.

        Raises:
            ProblemsError: nothing is selected, or the name is none for a file.
        """
        table = self._selected()
        table.attrs["note"] = note
        if self.folder is not None:
            _write(self.folder, name, table, note)
        self.kept[name] = table

    def _keep(self) -> None:
        self.keep_selection(self.name.value.strip(), self.note.value.strip())
        self._tell()

    def _told_kept(self) -> str:
        names = ", ".join(f"{html.escape(name)} ({len(table):,})" for name, table in self.kept.items())
        return f"<div>Kept: {names}. In a cell: <code>.kept[name]</code> is a DataFrame.</div>" if names else ""

    def _selected(self) -> pd.DataFrame:
        """What would be kept; raises where that is nothing."""
        raise NotImplementedError

    def _tell(self) -> None:
        """Say what is shown and kept."""
        raise NotImplementedError


def _write(folder: Path, name: str, table: pd.DataFrame, note: str) -> None:
    name = unicodedata.normalize("NFC", name)
    if not re.fullmatch(r"\w[\w .-]{0,59}", name) or name.endswith((".", " ")) or reserved(name):
        raise ProblemsError(f"found the name '{name[:80]}'; need up to 60 letters, digits, spaces, dots, dashes")
    path, beside = (folder / f"{name}.{ending}" for ending in ("csv", "txt"))
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as draft:
        table.to_csv(draft, index=False)
    if note:
        with whole_file(beside) as draft:
            draft.write_text(note, encoding="utf-8")
    else:
        beside.unlink(missing_ok=True)


def read_selections(folder: str | Path) -> dict[str, pd.DataFrame]:
    """The selections kept in a folder, by name; ``attrs["note"]`` of a table is its note."""
    import pandas as pd

    found = {path.stem: pd.read_csv(path) for path in sorted(Path(folder).glob("[!.]*.csv"))}
    for name, table in found.items():
        note = Path(folder) / f"{name}.txt"
        table.attrs["note"] = note.read_text(encoding="utf-8") if note.is_file() else ""
    return found
