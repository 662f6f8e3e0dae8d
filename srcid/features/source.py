"""`open_data`: from the one word that names the data of a run to an open store; `check_data`: could it be?

`fingerprint` tells data apart before they are made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from srcid.features.checks import StoreError
from srcid.features.digits import DigitsParams, make_digits
from srcid.features.manifest import read_manifest
from srcid.features.recordings import find_recordings, speech_fingerprint
from srcid.features.stamps import StampsParams, find_stamps, make_stamps, stamps_fingerprint
from srcid.features.store import FeatureStore
from srcid.features.synthetic import SyntheticParams, make_synthetic
from srcid.files import digest
from srcid.params import ParameterError, Section, describe, suggest
from srcid.values import shorten


class DataSet(NamedTuple):
    """A data set that can be made, and what its content hangs on beside its parameters.

    Attributes:
        version: raise it when the maker gives other values for the same parameters.
        facts: of parameters, what else counts.
        source: name of the parameter, if any, that says where its files lie; they count, not that place.
        find: the folder of those files; raises where they are missing.
    """

    params: type[Section]
    make: Callable[..., FeatureStore]
    version: int
    facts: Callable[[Any], dict[str, Any]]
    source: str = ""
    find: Callable[[str], Path] = Path

    def folder(self, options: Mapping[str, Any]) -> Path | None:
        """Where the files behind its clips lie; None where it has none."""
        field = self.params.model_fields.get(self.source)
        given = options.get(self.source, field.default) if field else ""
        return self.find(str(given)) if given or (field and field.default) else None

    def identity(self, params: Section) -> dict[str, Any]:
        """All that its content hangs on."""
        return {"version": self.version, **params.model_dump(mode="json", exclude={self.source}), **self.facts(params)}


DATA_SETS: dict[str, DataSet] = {
    # the order of modalities is the order of the store, which sorted JSON would lose
    "synthetic": DataSet(SyntheticParams, make_synthetic, 1, lambda params: {"order": list(params.shapes)}),
    "digits": DataSet(
        DigitsParams, make_digits, 1, lambda p: {"recordings": speech_fingerprint(p.fsdd)}, "fsdd", find_recordings
    ),
    "stamps": DataSet(
        StampsParams, make_stamps, 1, lambda p: {"files": stamps_fingerprint(p.stamps)}, "stamps", find_stamps
    ),
}


def open_data(
    name_or_path: str | Path, root: str | Path = "data", options: Mapping[str, Any] | None = None
) -> FeatureStore:
    """Return the store called ``synthetic``, ``digits`` or ``stamps``, made on first use, or the one at a path.

    Args:
        name_or_path: a name in :data:`DATA_SETS`, or the folder of a store.
        root: folder that keeps made stores, one per set of parameters; created on need.
        options: parameters of the named data set (:class:`SyntheticParams`, ...); none for
            a path.

    Raises:
        StoreError: no such data, recordings missing, or a damaged store.
        ParameterError: unknown or unusable options; all reported at once.
    """
    name, options = str(name_or_path), dict(options or {})
    if name not in DATA_SETS:
        return _open_path(Path(name), Path(root), options)
    params = _make_params(name, options)
    path = Path(root) / f"{name}-{fingerprint(name, options)[:12]}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return DATA_SETS[name].make(path, params)
        except StoreError:
            if not path.exists():
                raise
            # another process made the same store meanwhile
    return FeatureStore.open(path, media_root=DATA_SETS[name].folder(options))


def fingerprint(name_or_path: str | Path, options: Mapping[str, Any] | None = None) -> str:
    """Return a hash that equal data share and other data do not, without making or reading them.

    For the folder of a store it is the store's checksum. A data set that can be made has the hash of all that its
    content hangs on, so that the fingerprint is the same before and after it is made.

    Raises:
        StoreError, ParameterError: as :func:`open_data`.
    """
    name = str(name_or_path)
    if name not in DATA_SETS:
        return read_manifest(Path(name)).checksum
    return digest({"name": name, **DATA_SETS[name].identity(_make_params(name, dict(options or {})))})


def clips_of(name_or_path: str | Path, options: Mapping[str, Any] | None = None) -> int | None:
    """Return how many clips these data have, without making or reading them; None where that is not known before.

    Raises:
        StoreError, ParameterError: as :func:`open_data`.
    """
    name = str(name_or_path)
    if name not in DATA_SETS:
        return read_manifest(Path(name)).clips
    params: Any = _make_params(name, dict(options or {}))
    return params.train + params.val + params.test if hasattr(params, "train") else None


def check_data(
    name_or_path: str | Path, root: str | Path = "data", options: Mapping[str, Any] | None = None
) -> list[str]:
    """Return all that would keep :func:`open_data` from opening or making these data, as far as is seen at once.

    Takes milliseconds: nothing is made, features are not read, recordings are looked for but not listened to.

    Args:
        name_or_path, root, options: as for :func:`open_data`.

    Returns:
        Sentences; none if nothing is wrong.
    """
    name, options = str(name_or_path), dict(options or {})
    if name in DATA_SETS:
        attempts = [partial(DATA_SETS[name].folder, options), partial(_make_params, name, options)]
    else:
        attempts = [partial(_open_path, Path(name), Path(root), options, verify=False)]
    problems = []
    for attempt in attempts:
        try:
            attempt()
        except (StoreError, ParameterError) as error:
            problems += [f"{error.heading} {problem}" for problem in error.problems] or [error.heading]
    return problems


def _make_params(name: str, options: Mapping[str, Any]) -> Section:
    kind = DATA_SETS[name].params
    try:
        return kind(**options)
    except ValidationError as error:
        problems = describe(error, list(kind.model_fields))
        heading = f"the options of data '{name}' cannot be used:"
        raise ParameterError(heading, problems) from None


def _open_path(path: Path, root: Path, options: dict[str, Any], verify: bool = True) -> FeatureStore:
    if not os.path.isdir(path):  # False also for names that no folder can have
        made = sorted(str(file.parent) for file in root.glob("*/manifest.json"))
        known = [*DATA_SETS, *made]
        need = f"need the folder of a store or one of {', '.join(known)}{suggest(str(path), known)}"
        raise StoreError("there are no such data:", [f"found {shorten(str(path))}, {need}"])
    if options:
        raise ParameterError(
            f"found options {', '.join(sorted(options))} for the store at {path}; a store is opened as it "
            f"is: leave them out, or name one of {', '.join(DATA_SETS)}"
        )
    return FeatureStore.open(path, verify)
