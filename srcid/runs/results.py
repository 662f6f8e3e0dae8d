"""Finished runs read back for comparison: their scores, parameters and costs as frames, each under a short label."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from srcid.params import ABLATIONS, PRESETS, Params, describe, resolve, suggest
from srcid.runs.folders import Run, RunError, home, plain, root
from srcid.runs.overview import TRAINING, folders_in, read_runs
from srcid.values import shorten

if TYPE_CHECKING:
    import pandas as pd

_SCORED = ("task", "representation", "train", "test", "same", "metric", "score")  # what a row of probes.json must have
# what cannot change a score, or is said by the first words of a label
_UNSAID = {
    "seed", "threads", "device", "checkpoint_every", "log_every", "keep_features", "layers", "quantizer", "stages",
    "method",
}  # fmt: skip
_SHORT = {"codebook_size": "L", "dim": "D"}
_QUANTIZERS = ("vq", "rvq", "fsq", "identity")
RIVALS = ("codis", "turn", "codaar")
_CMCM = {"club_weight": 0.0, "recon_weight": 0.0}


@dataclass(frozen=True)
class Collected:
    """Scores, parameters and costs of finished runs of one data set.

    Attributes:
        directions: a row a run, task, representation and direction: run, method, seed, data, and the columns of
            :meth:`srcid.evaluation.results.ProbeResults.frame` (score, intervals, chance, metric,
            other scores; percent).
        params: a row a run, indexed by its name: all fields of :class:`Params`, and ``method``, ``family`` (the method
            without codebook size and CLUB's layers), ``vectors`` (code vectors of a layer, over all stages; NaN
            where codes are no vectors), ``code``, ``data``, ``ended``.
        costs: a row a run: the content of ``cost.json``.
        codes: folder of each run's CodeTable.
        common: options that all runs have other than their preset; labels do not repeat them.
        skipped: folders left out, with the reason.
    """

    directions: pd.DataFrame
    params: pd.DataFrame
    costs: pd.DataFrame
    codes: dict[str, Path]
    common: dict[str, Any]
    skipped: dict[str, str]

    @property
    def plain(self) -> pd.DataFrame:
        """``directions`` of the methods themselves, without variants in codebook size or CLUB's layers."""
        kept = self.params.index[self.params["method"] == self.params["family"]]
        return self.directions[self.directions["run"].isin(kept)] if len(kept) else self.directions

    def only(self, methods: Iterable[str]) -> Collected:
        """Return the same with these methods alone, in this order; all of them where none is named.

        Raises:
            RunError: there are no runs of some of them.
        """
        there = list(dict.fromkeys(self.params["method"]))
        wanted = list(methods) or there
        RunError.check(
            f"these runs cannot be compared; there are {', '.join(there)}:",
            [f"found no runs of '{name}'{suggest(name, there)}" for name in wanted if name not in there],
        )
        runs = [run for name in wanted for run in self.params.index[self.params["method"] == name]]
        directions = self.directions[self.directions["run"].isin(runs)]
        codes = {run: self.codes[run] for run in runs}
        return replace(self, directions=directions, params=self.params.loc[runs], codes=codes)

    def closest(self, run: str = "", method: str = "srcid vq") -> str:
        """Return the name of ``run`` (name or folder) if it is among these, else a run of ``method``, or the last."""
        name = Path(run).name
        mine = self.params.index[self.params["method"] == method]
        return name if name in self.params.index else mine[0] if len(mine) else self.params.index[-1]

    @property
    def versions(self) -> dict[str, int]:
        """Number of runs of each code version."""
        return dict(Counter(self.params["code"]))

    @property
    def source(self) -> str:
        """How many runs, on which data, with which seeds, by which code: a sentence for captions."""
        seeds = ", ".join(map(str, sorted(set(self.params["seed"]))))
        codes = ", ".join(f"{code} ({n})" for code, n in self.versions.items())
        return f"{len(self.params)} runs on data {self.params['data'].iloc[0]}, seeds {seeds}, code {codes}."

    @property
    def summary(self) -> str:
        """``source``, the number of runs of each method, and what they all have other than their preset."""
        counts = ", ".join(f"{method} ({n})" for method, n in Counter(self.params["method"]).items())
        text = f"{self.source} Runs by method: {counts}."
        if self.common:
            text += " All with " + ", ".join(f"{name}={_value(value)}" for name, value in self.common.items()) + "."
        return text


def collect(folder: str | Path | Iterable[Run] = "", data: str = "") -> Collected:
    """Read all finished runs of ``02_train``.

    A run counts once: of several with equal method, seed and data (made by several code versions) the newest is taken.
    What is damaged, unfinished, older or of other data is left out and named in ``skipped``; runs of other notebooks
    are passed over. Runs of different code versions are read together: see :attr:`Collected.versions`.

    Args:
        folder: folder of run folders, or the runs themselves; empty for :func:`srcid.runs.root`.
        data: name of the data or start of its checksum; empty for the data with the most runs.

    Raises:
        RunError: no such folder, or nothing in it that can be read.
    """
    import pandas as pd

    skipped: dict[str, str] = {}
    where = folder if isinstance(folder, str | Path) else "these runs"
    found = read_runs(_candidates(folder), skipped, lambda run: _read(run, skipped))
    entries = _one_data_set([entry for entry in found if entry], data, skipped)
    labels, families, common = _labels(entries)
    entries = _newest(entries, labels, skipped)
    if not entries:
        reasons = "".join(f"\n  - {name}: {reason}" for name, reason in skipped.items())
        raise RunError(
            f"found no finished run of {TRAINING} in {where or root()}; "
            f"make some, e.g. python -m srcid sweep {TRAINING} quantizer=vq,rvq2,fsq seed=0..4{reasons}"
        )
    entries.sort(key=lambda entry: (_place(entry["params"], labels[entry["run"]]), entry["params"]["seed"]))
    about = {
        e["run"]: e["params"]
        | {"method": labels[e["run"]], "family": families[e["run"]], "vectors": _vectors(e["params"])}
        | {name: e[name] for name in ("code", "data", "ended")}
        for e in entries
    }  # fmt: skip
    rows = [
        row | {"run": e["run"], "method": labels[e["run"]], "seed": e["params"]["seed"], "data": e["data"]}
        for e in entries
        for row in e["directions"]
    ]
    first = ["run", "method", "seed", "data"]
    directions = pd.DataFrame(rows, columns=None if rows else [*first, *_SCORED])
    directions = directions[first + [name for name in directions if name not in first]]
    params = pd.DataFrame({run: pd.Series(values, dtype=object) for run, values in about.items()}).T.infer_objects()
    costs = pd.DataFrame.from_dict({e["run"]: e["costs"] for e in entries}, orient="index")
    codes = {e["run"]: e["folder"] / "codes" for e in entries}
    return Collected(directions, params, costs, codes, common, skipped)


def _candidates(folder: str | Path | Iterable[Run]) -> list[Path]:
    if not isinstance(folder, str | Path):
        return [run.folder for run in folder]
    path = Path(folder) if folder else root()
    places = (path, home() / path, root() / path)  # a notebook starts in another folder than its launcher
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise RunError(f"there is no folder {path}; name the folder that holds the runs' folders")
    return folders_in(found)


def _read(run: Run, skipped: dict[str, str]) -> dict[str, Any] | None:
    """What a run says of itself; None if it is another notebook's or is not over."""
    status = run.status
    if status["notebook"] != TRAINING:
        return None
    if status["status"] != "finished":
        skipped[run.name] = f"is {status['status']}, not finished"
        return None
    directions, costs = run.read("probes.json").get("directions"), run.read("cost.json")
    if not isinstance(directions, list) or not all(isinstance(row, dict) for row in directions):
        raise RunError(f"{run.folder / 'probes.json'} is damaged: it has no list of directions")
    lacking = [name for name in _SCORED if any(name not in row for row in directions)]  # without labels there are none
    if lacking:
        raise RunError(f"{run.folder / 'probes.json'} is damaged or of an older format: no {', '.join(lacking)}")
    if wrong := [row["score"] for row in directions if not isinstance(row["score"], int | float)]:
        raise RunError(f"{run.folder / 'probes.json'} is damaged: found a score {shorten(wrong[0])}, need a number")
    params = run.params
    if not set(params) - set(Params.model_fields):  # else it is of another version
        try:
            params = plain(Params(**params))
        except ValidationError as error:
            raise RunError(f"{run.folder / 'params.json'} is damaged:", describe(error, [])) from None
    values = status.get("values") or {}
    store = run.read("store.json") if (run.folder / "store.json").exists() else {}
    name = Path(str(values.get("data") or store.get("path") or "data")).name
    return {
        "run": run.name, "folder": run.folder, "params": params, "directions": directions,
        "costs": {key: value for key, value in costs.items() if isinstance(value, int | float)},
        "code": str(status.get("code")), "ended": status["ended"], "preset": str(values.get("preset") or ""),
        "data": f"{name} {str(status.get('checksum') or store.get('checksum') or '')[:8]}".strip(),
    }  # fmt: skip


def _one_data_set(entries: list[dict], data: str, skipped: dict[str, str]) -> list[dict]:
    found = Counter(entry["data"] for entry in entries)
    if data:
        chosen = [name for name in found if any(word.startswith(data) for word in name.split(" "))]
        if len(chosen) > 1:
            raise RunError(f"found several data sets called '{data}': {', '.join(chosen)}; need more of the checksum")
    else:
        chosen = [name for name, _ in found.most_common(1)]
    for entry in entries:
        if entry["data"] not in chosen:
            skipped[entry["run"]] = f"read other data: {entry['data']}, not {chosen[0] if chosen else data}"
    return [entry for entry in entries if entry["data"] in chosen]


def _newest(entries: list[dict], labels: Mapping[str, str], skipped: dict[str, str]) -> list[dict]:
    kept: dict[tuple[str, int], dict] = {}
    for entry in sorted(entries, key=lambda entry: entry["ended"]):
        older = kept.get((labels[entry["run"]], entry["params"]["seed"]))
        if older:
            skipped[older["run"]] = f"is older than {entry['run']}, which has the same method, seed and data"
        kept[labels[entry["run"]], entry["params"]["seed"]] = entry
    return list(kept.values())


def _labels(entries: list[dict]) -> tuple[dict[str, str], dict[str, str], dict[str, Any]]:
    """Short names of methods, the same without codebook size and CLUB's layers, and what all runs share.

    ``dcid rvq2``: one layer, two stages; ``srcid vq, L=50``: two layers, and what else differs from the run's preset.
    """
    changes = [_changes(entry["params"], entry["preset"]) for entry in entries]
    first = changes[0] if len(changes) > 1 else {}
    common = {name: value for name, value in first.items() if all(c.get(name) == value for c in changes)}
    labels, families = {}, {}
    for entry, changed in zip(entries, changes, strict=True):
        own = {name: value for name, value in changed.items() if name not in common}
        labels[entry["run"]] = _label(entry["params"], own)
        rest = {name: value for name, value in own.items() if name not in ("codebook_size", "club_off")}
        families[entry["run"]] = _label(entry["params"], rest)
    return labels, families, common


def _label(params: Mapping[str, Any], changed: Mapping[str, Any]) -> str:
    return ", ".join([_head(params), *(f"{_SHORT.get(name, name)}={_value(v)}" for name, v in changed.items())])


def _head(params: Mapping[str, Any]) -> str:
    quantizer = params["quantizer"] + (str(params["stages"]) if params["quantizer"] == "rvq" else "")
    return _kind(params) if _kind(params) in RIVALS else f"{_kind(params)} {quantizer}"


def _kind(params: Mapping[str, Any]) -> str:
    if params["quantizer"] == "codaar":
        return "codaar"
    if params.get("method", "srcid") != "srcid":
        return params["method"]
    if params["layers"] == 1:
        return "cmcm" if all(params[name] == value for name, value in _CMCM.items()) else "dcid"
    return "srcid" if params["layers"] == 2 else f"K{params['layers']}"


def _changes(params: Mapping[str, Any], preset: str) -> dict[str, Any]:
    """Fields with another value than in the run's preset, or in the nearest one where that is unknown."""
    names = preset.split("+")
    method = "+".join(name for name in names if name not in ABLATIONS) or "srcid"  # which leaves all as it is
    bases = [method] if all(name in PRESETS for name in names) else ["demo", "paper", "published"]
    unsaid = _UNSAID | (set(_CMCM) if _kind(params) == "cmcm" else set())
    unsaid |= {"codebook_size"} if params["quantizer"] == "identity" else set()
    found = []
    for base in bases:
        usual = plain(resolve(base))
        found.append({n: v for n, v in params.items() if n not in unsaid and usual.get(n) != v})
    return min(found, key=len)


def _vectors(params: Mapping[str, Any]) -> float:
    stages = {"vq": 1, "codaar": 1, "rvq": params["stages"]}.get(params["quantizer"])
    return float(stages * params["codebook_size"]) if stages else math.nan


def _value(value: Any) -> str:
    return f"[{','.join(map(str, value))}]" if isinstance(value, list | tuple) else str(value)


def _place(params: Mapping[str, Any], label: str) -> tuple:
    """Order of methods: by layers, quantiser and stages, the plain ones first; sizes in numeric order."""
    kind, quantizer = _kind(params), params["quantizer"]
    place = (*RIVALS[:2], "dcid", "cmcm", "srcid", RIVALS[2], kind).index(kind)  # what is none of them comes last
    known = (*_QUANTIZERS, quantizer).index(quantizer)
    size = params["codebook_size"] if "L=" in label else math.inf
    return place, params["layers"], known, params["stages"] if quantizer == "rvq" else 0, label.count("="), size, label
