"""The manifest of a feature store: what it may say, reading it, and hashes that tell alterations.

A store may come from a stranger, who can make any checksum fit. So a manifest is held against :class:`Manifest` before
anything else is read: names make no paths, numbers have bounds, and every file is one that a store has, of the type and
shape that the rest of the manifest implies.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from srcid.features.checks import FILE_NAME, MAX_CLASSES, MODALITY, StoreError
from srcid.files import digest

FORMAT, VERSION = "srcid-features", 1
MAX_MANIFEST_BYTES = 64 * 2**20
MAX_CLIPS, MAX_STEPS = 2**32, 10**6

Modality = Annotated[str, Field(pattern=f"^{MODALITY}$", max_length=100)]
Name = Annotated[str, Field(pattern=f"^{FILE_NAME}$", max_length=100)]
Axis = Annotated[int, Field(ge=1, le=2**40)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class FileEntry(_Part):
    """One array of the store."""

    shape: list[Axis] = Field(min_length=1, max_length=5)
    dtype: str = Field(pattern=r"^([<|][bif]\d|<U\d{1,6})$")
    bytes: int = Field(ge=0, le=2**60)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class LabelEntry(_Part):
    """One label; see :class:`srcid.features.checks.LabelInfo`."""

    kind: Literal["multilabel", "category", "continuous"]
    level: Literal["step", "clip"]
    classes: list[str] = Field(max_length=MAX_CLASSES)
    visible_in: list[Modality]


class Manifest(_Part):
    """``manifest.json``; fields as in :class:`srcid.features.store.FeatureStore`."""

    format: Literal["srcid-features"]
    version: Literal[1]
    modalities: list[Modality] = Field(min_length=1)
    clips: int = Field(ge=1, le=MAX_CLIPS)
    steps: int = Field(ge=1, le=MAX_STEPS)
    evaluation_only: bool
    labels: dict[Name, LabelEntry]
    labelled: list[Name] = []  # multi-labels that are not known everywhere
    splits: list[Name] = Field(min_length=1)
    masks: list[Modality]
    media: list[Modality]
    provenance: dict[str, Any]
    files: dict[str, FileEntry]
    checksum: str
    media_root: str | None

    @model_validator(mode="after")
    def _files_are_those_of_the_rest(self) -> Manifest:
        known = set(self.modalities)
        for what, names in (("modalities", self.modalities), ("splits", self.splits)):
            if len(set(names)) < len(names):
                raise ValueError(f"{what} repeat")
        seen = [m for label in self.labels.values() for m in label.visible_in]
        if strangers := sorted({*self.masks, *self.media, *seen} - known):
            raise ValueError(f"{strangers} are none of the modalities")
        if strangers := sorted(n for n in self.labelled if getattr(self.labels.get(n), "kind", "") != "multilabel"):
            raise ValueError(f"labelled names {strangers}, which are no multi-labels")
        expected = {name: (dtype, shapes) for name, dtype, *shapes in self._expected()}
        if odd := sorted(set(self.files) ^ set(expected)):
            raise ValueError(f"files {odd[:5]} are there or lacking against the rest of the manifest")
        for name, (dtype, shapes) in expected.items():
            entry = self.files[name]
            fits = any(
                len(shape) == len(entry.shape) and all(n in (None, m) for n, m in zip(shape, entry.shape, strict=True))
                for shape in shapes
            )
            if not fits or not re.fullmatch(dtype, entry.dtype):
                raise ValueError(f"{name}: found {entry.dtype} {entry.shape}, need {dtype} {shapes[0]} (None: any)")
            if math.prod(entry.shape) * np.dtype(entry.dtype).itemsize > entry.bytes:
                raise ValueError(f"{name}: {entry.shape} {entry.dtype} do not fit in {entry.bytes} bytes")
        return self

    def _expected(self) -> Iterator[tuple[Any, ...]]:
        """Yield name, pattern of the type, and possible shapes of each file that a store of this content has."""
        both = [self.clips, self.steps]
        for m in self.modalities:
            yield f"features/{m}.npy", "<f[24]", [*both, None], [*both, None, None, None]
        for name, label in self.labels.items():
            axes = both if label.level == "step" else both[:1]
            width = len(label.classes) or None
            kinds = {
                "multilabel": (r"\|b1", [*axes, len(label.classes)]),
                "category": ("<i8", axes),
                "continuous": ("<f[248]", [*axes, width]),
            }
            yield f"labels/{name}.npy", *kinds[label.kind]
            if name in self.labelled:
                yield f"labelled/{name}.npy", r"\|b1", axes
        for name in self.splits:
            yield f"splits/{name}.npy", "<i8", [None]
        for m in self.masks:
            yield f"masks/{m}.npy", r"\|b1", both
        for m in self.media:
            yield f"media/{m}.npy", r"<U\d+", both
        yield "ids.npy", r"<U\d+", [self.clips]


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of the store at ``path``; raise :class:`StoreError` if it cannot be trusted."""
    heading = f"{path} is no feature store:"
    file = path / "manifest.json"
    if not os.path.isdir(path):  # False also for names that no folder can have
        raise StoreError(heading, ["there is no such folder"])
    if not file.is_file():
        raise StoreError(heading, ["found no manifest.json; it is another folder, or a store that was never finished"])
    if file.stat().st_size > MAX_MANIFEST_BYTES:
        raise StoreError(heading, [f"manifest.json has {file.stat().st_size} bytes, need at most {MAX_MANIFEST_BYTES}"])
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise StoreError(heading, [f"manifest.json is truncated or altered ({error})"]) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise StoreError(heading, [f"found format {str(found)[:60]!r}, need {FORMAT!r}"])
    if content.get("version") != VERSION:
        found = str(content.get("version"))[:60]
        raise StoreError(
            f"{path} cannot be read:",
            [f"found format version {found}, need {VERSION}; make the store again or change srcid"],
        )
    if content.get("checksum") != checksum(content):
        raise StoreError(heading, ["manifest.json does not match its own checksum: altered since it was written"])
    return checked(content, heading)


def checked(content: Mapping[str, Any], heading: str) -> Manifest:
    """Hold what a manifest says against :class:`Manifest`; raise :class:`StoreError` where it does not fit."""
    try:
        return Manifest.model_validate(content)
    except ValidationError as error:
        problems = [
            f"manifest.json, {'.'.join(map(str, e['loc'])) or 'whole'}: {e['msg']}"[:300]
            for e in error.errors(include_url=False, include_input=False, include_context=False)[:10]
        ]
        raise StoreError(heading, problems) from None


def checksum(manifest: Mapping[str, Any]) -> str:
    """SHA-256 over a manifest and with it, through the hashes of the files, over all content."""
    content = {key: value for key, value in manifest.items() if key not in ("checksum", "media_root")}
    return digest(content)
