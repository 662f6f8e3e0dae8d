"""The manifest of a code table: what it must say before any of its files is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from srcid.files import read_json, unsealed
from srcid.params import describe
from srcid.problems import ProblemsError

FORMAT = "srcid-codes"
VERSION = 2
READABLE = (1, 2)  # version 1 keeps no distance of the second nearest code


class CodeTableError(ProblemsError):
    """A CodeTable that cannot be read, or does not hold what was asked for."""


_Name = Annotated[str, Field(pattern=r"^[^/\\\x00]{1,200}$")]  # part of the name of a file
_KINDS = {"i": "integers", "f": "numbers", "b": "true or false", "U": "text"}
_Count = Annotated[int, Field(ge=0, lt=2**40)]


class _Label(BaseModel):
    """A label as :class:`srcid.features.LabelInfo` has it."""

    model_config = ConfigDict(strict=True, extra="forbid")

    name: str
    kind: Literal["multilabel", "category", "continuous"]
    level: Literal["step", "clip"]
    classes: list[str]
    visible_in: list[str]


class _Store(BaseModel):
    """Which store was encoded."""

    path: str
    checksum: str


class _File(BaseModel):
    """What :func:`srcid.files.fingerprints` says of an array."""

    bytes: _Count
    sample: str
    sha256: str


class _Manifest(BaseModel):
    """What a manifest must say before any of its files is touched."""

    model_config = ConfigDict(strict=True)

    modalities: list[_Name] = Field(min_length=1)
    layers: int = Field(ge=1, le=64)
    stages: int = Field(ge=0, le=64)
    sizes: list[_Count]
    clips: _Count
    steps: _Count
    splits: list[_Name]
    labels: dict[_Name, _Label]
    labelled: list[_Name] = []
    media: list[_Name]
    params: dict[str, Any]
    store: _Store
    arrays: str = Field("", pattern=r"^(arrays-[0-9a-f]{12})?$")
    files: dict[_Name, _File] | None = None


def misfit(array: np.ndarray, kinds: str, shape: tuple[int | None, ...], low: int = 0, high: int = 0) -> str:
    """Say how an array differs from what the rest of its table implies, or nothing.

    Args:
        kinds: NumPy's letters of the kinds that its type may be of.
        shape: its length along each axis; None for any.
        low, high: range of its values, ``high`` not included; equal where they may be any.
    """
    fits = len(shape) == array.ndim and all(want in (None, n) for want, n in zip(shape, array.shape, strict=True))
    if array.dtype.kind not in kinds or not fits:
        found, need = list(array.shape), ", ".join("any" if n is None else str(n) for n in shape)
        return f"found {array.dtype} {found}, need {' or '.join(_KINDS[kind] for kind in kinds)} [{need}]"
    if low < high and array.size and not low <= array.min() <= array.max() < high:
        return f"found values from {array.min()} to {array.max()}, need {low} to {high - 1}"
    return ""


def table_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of the table in the folder ``path``.

    Raises:
        CodeTableError: there is none, it is damaged, or its format is not this version's.
    """
    file = path / "manifest.json"
    if not file.is_file():
        raise CodeTableError(f"found no code table in {path}; train first (02_train), or point to a run's codes folder")
    try:
        manifest = unsealed(read_json(file))
        known = (manifest["format"], manifest["version"])
        if known not in [(FORMAT, version) for version in READABLE]:
            raise CodeTableError(f"{file} has format {known}, this version reads {FORMAT} of version {READABLE}")
        said = _Manifest.model_validate(manifest)
        if len(said.sizes) != said.stages or 0 in said.sizes:
            raise ValueError(f"found sizes {said.sizes[:10]} of {said.stages} stages")
    except ValidationError as error:
        raise CodeTableError(f"{file} is damaged; delete the folder and encode again:", describe(error, [])) from None
    except CodeTableError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CodeTableError(f"{file} is damaged ({error!r}); delete the folder and encode again") from None
    return manifest
