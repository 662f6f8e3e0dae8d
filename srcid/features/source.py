"""`open_data`: from the one word that names the data of a run to an open store; `check_data`: could it be?

`fingerprint` tells data apart before they are made.
"""

from __future__ import annotations

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
from srcid.files import digest, exists
from srcid.params import ParameterError, Section, describe, suggest
from srcid.values import shorten


class DataSet(NamedTuple):
    """A data set that can be made: its parameters, its maker, the maker's version, what it hangs on and needs."""

    params: type[Section]
    make: Callable[..., FeatureStore]
    version: int  # raise it when the maker gives other values for the same parameters
    identity: Callable[[Any], dict[str, Any]]
    seek: Callable[[Mapping[str, Any]], Any] = lambda options: None  # raises if files it needs are missing
    media_root: Callable[[Any], Path | None] = lambda params: None  # where the files behind its clips lie


def _synthetic_identity(params: SyntheticParams) -> dict[str, Any]:
    # the order of modalities is the order of the store, which sorted JSON would lose
    return {**params.model_dump(mode="json"), "order": list(params.shapes)}


def _digits_identity(params: DigitsParams) -> dict[str, Any]:
    # the recordings count, not the folder they lie in
    return {**params.model_dump(mode="json", exclude={"fsdd"}), "recordings": speech_fingerprint(params.fsdd)}


def _stamps_identity(params: StampsParams) -> dict[str, Any]:
    return {**params.model_dump(mode="json", exclude={"stamps"}), "files": stamps_fingerprint(params.stamps)}


def _seek_stamps(options: Mapping[str, Any]) -> None:
    find_stamps(str(options.get("stamps", StampsParams().stamps)))


def _recordings_folder(params: DigitsParams) -> Path | None:
    return find_recordings(params.fsdd) if params.fsdd else None


def _seek_recordings(options: Mapping[str, Any]) -> None:
    if options.get("fsdd"):
        find_recordings(str(options["fsdd"]))


DATA_SETS: dict[str, DataSet] = {
    "synthetic": DataSet(SyntheticParams, make_synthetic, 1, _synthetic_identity),
    "digits": DataSet(DigitsParams, make_digits, 1, _digits_identity, _seek_recordings, _recordings_folder),
    "stamps": DataSet(
        StampsParams, make_stamps, 1, _stamps_identity, _seek_stamps, lambda params: find_stamps(params.stamps)
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
    return FeatureStore.open(path, media_root=DATA_SETS[name].media_root(params))


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
    data = DATA_SETS[name]
    identity = {"name": name, "version": data.version, **data.identity(_make_params(name, dict(options or {})))}
    return digest(identity)


def clips_of(name_or_path: str | Path, options: Mapping[str, Any] | None = None) -> int:
    """Return how many clips these data have, without making or reading them.

    Raises:
        StoreError, ParameterError: as :func:`open_data`.
    """
    name = str(name_or_path)
    if name not in DATA_SETS:
        return read_manifest(Path(name)).clips
    params: Any = _make_params(name, dict(options or {}))
    return params.train + params.val + params.test


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
        attempts = [partial(DATA_SETS[name].seek, options), partial(_make_params, name, options)]
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
    if not exists(path) or not path.is_dir():
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
