"""Codes as they were after an epoch of a run, read like any other code table; and what a run is compared with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from srcid.codes import CodeTable, CodeTableError

if TYPE_CHECKING:
    from srcid.runs import Run

_EPOCHS = re.compile(r"epoch (\d+)(?:, epoch (\d+))?")


class _EpochTable(CodeTable):
    """A run's table with the codes of a snapshot in place of its own; rows keep their numbers, others have no code."""

    def __init__(self, path: Path, manifest: dict[str, Any], held: dict[str, np.ndarray]) -> None:
        super().__init__(path, manifest)
        self.held = held

    def _read(self, name: str, share: bool = False) -> np.ndarray:
        values = self.held.get(name.removesuffix(".npy"))
        if values is None:
            kept = super()._read(name, share)
            if name.startswith("mask_"):
                kept = kept & np.isin(np.arange(self.clips), self.held["rows"])[:, None]
            return kept
        if name.startswith("codebook_"):
            return values
        full = np.full((self.clips, *values.shape[1:]), np.nan if values.dtype.kind == "f" else -1, values.dtype)
        full[self.held["rows"]] = values
        return full


def epoch_table(table: CodeTable, folder: str | Path, epoch: int) -> CodeTable:
    """Return the codes that the run in ``folder`` had after ``epoch``, of the clips and the layers that it kept.

    Args:
        table: the run's code table, for labels and splits. Its rows keep their numbers; those without a code in the
            snapshot have -1.
        epoch: from 1; :func:`srcid.training.snapshots.kept_epochs` says which there are.

    Raises:
        CodeTableError: there is no such snapshot, or it is damaged.
    """
    from srcid.training.snapshots import kept_epochs, read_epoch

    known = kept_epochs(Path(folder))
    if epoch not in known:
        there = f"those of {', '.join(map(str, known))}" if known else "none: it was trained by an earlier version"
        raise CodeTableError(f"{Path(folder).name} keeps no codes of epoch {epoch}; there are {there}")
    try:
        held = read_epoch(Path(folder), epoch)
        layers = 1 + max(k for k in range(table.layers) if f"codes_{k + 1}_{table.modalities[0]}" in held)
        if held["rows"].max(initial=-1) >= table.clips:
            raise ValueError("it has other clips")
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise CodeTableError(f"the codes of epoch {epoch} in {folder} are damaged ({error}); train again") from None
    files = {f"{name}.npy": {} for name in held}
    return _EpochTable(table.path, table.manifest | {"layers": layers, "files": files, "model": ""}, held)


def compared(source: Run, other: str) -> dict[str, Any]:
    """Return two code tables by name: that of ``source`` and of another run or an epoch of it, or those of two epochs.

    Args:
        other: folder or name of a run, ``epoch 3``, ``epoch 3, epoch 7``, or nothing: the source alone.

    Raises:
        RunError: there is no such run, or it has not finished.
        CodeTableError: there is no such epoch, or a table is damaged.
    """
    from srcid.runs import ready

    table = CodeTable.open(source.codes)
    if asked := _EPOCHS.fullmatch(other.strip()):
        epochs = {f"epoch {n}": epoch_table(table, source.folder, int(n)) for n in asked.groups() if n}
        return epochs if len(epochs) == 2 else {source.name: table} | epochs
    return {source.name: table} | ({other: CodeTable.open(ready(other).codes)} if other else {})
