"""The manifest of a code table: what it must say before any of its files is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from srcid.files import read_json
from srcid.params import describe
from srcid.problems import ProblemsError

FORMAT = "srcid-codes"
VERSION = 2
READABLE = (1, 2)  # version 1 keeps no distance of the second nearest code


class CodeTableError(ProblemsError):
    """A CodeTable that cannot be read, or does not hold what was asked for."""


_Name = Annotated[str, Field(pattern=r"^[^/\\\x00]{1,200}$")]  # part of the name of a file
_Count = Annotated[int, Field(ge=0, lt=2**40)]


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
    labels: dict[_Name, dict[str, Any]]
    labelled: list[_Name] = []
    media: list[_Name]
    params: dict[str, Any]
    store: dict[str, str]
    arrays: str = Field("", pattern=r"^(arrays-[0-9a-f]{12})?$")
    files: dict[_Name, dict[str, int | str]] | None = None


def table_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of the table in the folder ``path``.

    Raises:
        CodeTableError: there is none, it is damaged, or its format is not this version's.
    """
    file = path / "manifest.json"
    if not file.is_file():
        raise CodeTableError(f"found no code table in {path}; train first (02_train), or point to a run's codes folder")
    try:
        manifest = read_json(file)
        known = (manifest["format"], manifest["version"])
        if known not in [(FORMAT, version) for version in READABLE]:
            raise CodeTableError(f"{file} has format {known}, this version reads {FORMAT} of version {READABLE}")
        _Manifest.model_validate(manifest)
    except ValidationError as error:
        raise CodeTableError(f"{file} is damaged; delete the folder and encode again:", describe(error, [])) from None
    except CodeTableError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CodeTableError(f"{file} is damaged ({error!r}); delete the folder and encode again") from None
    return manifest
