"""The manifest of a feature store: reading it, refusing what is none, and hashes that tell alterations."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from srcid.features.checks import StoreError

FORMAT, VERSION = "srcid-features", 1


def read_manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of the store at ``path``; raise :class:`StoreError` if it cannot be trusted."""
    heading = f"{path} is no feature store:"
    file = path / "manifest.json"
    if not path.is_dir():
        raise StoreError(heading, ["there is no such folder"])
    if not file.is_file():
        raise StoreError(heading, ["found no manifest.json; it is another folder, or a store that was never finished"])
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(heading, [f"manifest.json is truncated or altered ({error})"]) from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise StoreError(heading, [f"found format {found!r}, need {FORMAT!r}"])
    if manifest.get("version") != VERSION:
        found = manifest.get("version")
        raise StoreError(
            f"{path} cannot be read:",
            [f"found format version {found!r}, need {VERSION}; make the store again or change srcid"],
        )
    if manifest.get("checksum") != checksum(manifest):
        raise StoreError(heading, ["manifest.json does not match its own checksum: altered since it was written"])
    return manifest


def checksum(manifest: Mapping[str, Any]) -> str:
    """SHA-256 over a manifest and with it, through the hashes of the files, over all content."""
    content = {key: value for key, value in manifest.items() if key not in ("checksum", "media_root")}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def sha256(file: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def flush(path: Path) -> None:
    """Have a file or folder written to the disk itself, not only to the system's cache."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
