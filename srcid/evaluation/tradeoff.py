"""What methods score beside what they cost, and what the size of the codebook and CLUB's layers do to the score."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from srcid.evaluation.comparison import (
    ACROSS,
    AVERAGE,
    WITHIN,
    ComparisonError,
    Differences,
    Leader,
    leader,
    methods_of,
    paired,
)
from srcid.statistics import Interval, holm, t_interval


@dataclass(frozen=True)
class Quality:
    """What each method scores and costs.

    Attributes:
        rows: a row a method, columns (quantity, ``mean`` | ``low`` | ``high``). Quantities: ``across`` and ``within``
            (average scores, percent), ``reconstruction`` (validation, mean squared error of layer 1's input, mean over
            modalities; features are on their own scale, so it compares runs of one data set), ``ms_per_step`` (median,
            smallest and largest of the runs: machine load is not seed variance), ``parameters`` (millions), ``memory``
            (GB, largest resident size of the process) and ``bits`` (a step's, in use: entropy of the codes over all
            modalities, summed over layers). What runs do not have is NaN; other ends are those of the t-interval.
        across, within: the leaders of both scores; None with fewer than two methods.
    """

    rows: pd.DataFrame
    across: Leader | None = None
    within: Leader | None = None

    def frame(self) -> pd.DataFrame:
        """Return the rows."""
        return self.rows

    @property
    def finding(self) -> str:
        """Which method scores highest on other modalities and on its own, or which cannot be told apart."""
        found = ((self.across, "other modalities, m → n"), (self.within, "own modality, m → m"))
        said = "; ".join(best.says(where) for best, where in found if best)
        return said[:1].upper() + said[1:] or "One method: nothing to compare"


def quality(matrix: pd.DataFrame, costs: pd.DataFrame) -> Quality:
    """Put what runs cost beside what they score.

    Args:
        matrix: of :func:`score_matrix`.
        costs: a row a run, the content of ``cost.json``.
    """
    runs = matrix.index.get_level_values("run")
    costs = costs.reindex(runs).set_index(matrix.index)
    rebuilt = [name for name in costs if name.startswith("val/recon/1/")]
    used = [name for name in costs if name.startswith("bits/") and name.endswith("/joint")]
    found = pd.DataFrame(index=matrix.index)
    for name, key in (("across", (AVERAGE, ACROSS)), ("within", (AVERAGE, WITHIN))):
        found[name] = matrix.get(key, np.nan)
    found["reconstruction"] = costs[rebuilt].mean(axis=1)
    found["ms_per_step"] = costs.get("ms_per_step", np.nan)
    found["parameters"] = costs.get("parameters", np.nan) / 1e6
    found["memory"] = costs.get("memory_mb", np.nan) / 1024
    found["bits"] = costs[used].sum(axis=1, min_count=1)
    rows = {}
    for method in methods_of(matrix):
        part = found.xs(method, level="method").astype(float)
        cells = {name: t_interval(part[name].dropna().to_numpy()) for name in found}
        if len(times := part["ms_per_step"].dropna()):
            cells["ms_per_step"] = Interval(times.median(), times.min(), times.max(), 1.0, len(times))
        rows[method] = {
            (name, end): value
            for name, cell in cells.items()
            for end, value in zip(("mean", "low", "high"), (cell.value, *cell.ends), strict=True)
        }
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.columns = pd.MultiIndex.from_tuples(frame.columns, names=["quantity", ""])
    best = [leader(matrix, (AVERAGE, way)) if (AVERAGE, way) in matrix else None for way in (ACROSS, WITHIN)]
    return Quality(frame, *best)


def equal_vectors(params: pd.DataFrame, reference: str) -> list[str]:
    """Return the runs whose code vectors, over all stages and layers, are as many as the reference's, within 2 %.

    With equal L a residual quantiser of n stages, and a model of n layers, has n times as many. Runs with CLUB switched
    off somewhere are passed over. Empty if there is no second method.

    Args:
        params: a row a run with the columns method, vectors (of a layer), layers and club_off.
    """
    total = params["vectors"] * params["layers"]
    whole = total[params["club_off"].map(len) == 0]
    own = total[params["method"] == reference]
    found = whole.index[(whole / own.iloc[0] - 1).abs() < 0.02] if len(own) else whole.index[:0]
    return list(found) if params.loc[found, "method"].nunique() > 1 else []


@dataclass(frozen=True)
class Ablation:
    """Scores by codebook size and by the layers whose CLUB term is off, as in the paper's Fig. 3.

    Attributes:
        rows: family (the method without these two options), codebook_size, club_off (tuple of layers), direction
            (:data:`ACROSS` or :data:`WITHIN`, averages over tasks), score, low, high, seeds; sorted.
        sizes: by family, the leader of the codebook sizes m → n; methods are called by their size.
        club: differences m → n of switching CLUB off, against the method with CLUB, in points; methods by layers.
    """

    rows: pd.DataFrame
    sizes: Mapping[str, Leader]
    club: Differences | None = None

    def frame(self) -> pd.DataFrame:
        """Return the rows."""
        return self.rows

    @property
    def finding(self) -> str:
        """Which codebook size is best if one is, and whether switching CLUB off makes a difference."""
        parts = [best.says(f"Codebook size of {family}, m → n") for family, best in self.sizes.items()]
        if self.club is not None and len(self.club.rows):
            certain = self.club.rows[self.club.certain]
            said = [f"{row.method}: {row.difference:+.1f} points" for row in certain.itertuples()]
            parts.append(f"CLUB off: {'; '.join(said) or 'no difference m → n is certain'}")
        return "; ".join(parts) or "Codebook size, and CLUB switched off"


def ablation(matrix: pd.DataFrame, params: pd.DataFrame) -> Ablation:
    """Compare codebook sizes, and CLUB off in some layers, in runs with the vector quantiser.

    Args:
        matrix: of :func:`score_matrix`, for one representation.
        params: a row a run with the columns family, quantizer, codebook_size and club_off.

    Raises:
        ComparisonError: no run was scored.
    """
    if not len(matrix):
        raise ComparisonError("found no scored run; need some for an ablation")
    about = params.loc[params["quantizer"] == "vq", ["family", "codebook_size", "club_off"]]
    about = about.assign(club_off=about["club_off"].map(tuple))
    matrix = matrix[matrix.index.get_level_values("run").isin(about.index)]
    keys = pd.Series([tuple(about.loc[run]) for run in matrix.index.get_level_values("run")], index=matrix.index)
    families = list(dict.fromkeys(key[0] for key in keys))
    ways = [way for way in (ACROSS, WITHIN) if (AVERAGE, way) in matrix]
    rows = []
    for key in sorted(set(keys), key=lambda key: (families.index(key[0]), key[1:])):
        for way in ways:
            score = t_interval(matrix.loc[keys == key, (AVERAGE, way)].dropna().to_numpy())
            rows.append((*key, way, score.value, score.low, score.high, score.n))
    names = ["family", "codebook_size", "club_off", "direction", "score", "low", "high", "seeds"]
    sizes, club = {}, []
    for family in families if ACROSS in ways else ():
        mine = matrix[[key[0] == family and not key[2] for key in keys]]
        best = leader(_renamed(mine, keys, lambda key: f"L = {key[1]}"), (AVERAGE, ACROSS))
        sizes |= {family: best} if best else {}
        for size in dict.fromkeys(key[1] for key in keys if key[0] == family and key[2]):
            part = matrix[[key[:2] == (family, size) for key in keys]]
            part = _renamed(part, keys, lambda key: _layers(key[2]) if key[2] else "on")
            if "on" in methods_of(part):
                found = paired(part, "on", [(AVERAGE, ACROSS)]).rows
                club.append(found.assign(method=f"{family}, " + found["method"]))
    if club:
        every = pd.concat(club, ignore_index=True)
        club = Differences(every.assign(p_holm=holm(every["p"].to_numpy(float))), "CLUB on")
    return Ablation(pd.DataFrame(rows, columns=names), sizes, club or None)


def _layers(numbers: Sequence[int]) -> str:
    return f"layer{'s' if len(numbers) > 1 else ''} {' and '.join(map(str, numbers))}"


def _renamed(matrix: pd.DataFrame, keys: pd.Series, name: Callable[[tuple], str]) -> pd.DataFrame:
    """Call the methods of some rows of a matrix by what of them is compared."""
    rows = [(name(keys.loc[row]), *row[1:]) for row in matrix.index]
    return matrix.set_axis(pd.MultiIndex.from_tuples(rows, names=matrix.index.names))
