"""The maps of one code table: one sampling, one seed, one cache, and a reason where there can be no map."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from srcid.maps.graph import percent
from srcid.maps.points import MapError, Points, codebook_points, feature_points
from srcid.maps.projection import TITLES, Projection, project
from srcid.symbols import InspectionError


@dataclass(frozen=True)
class Missing:
    """A map that cannot be shown, and why."""

    title: str
    reason: str

    @property
    def finding(self) -> str:
        return f"{self.title[:1].upper()}{self.title[1:]} cannot be mapped: {self.reason}."


def quality_table(maps: Iterable[Projection | Missing]) -> Any:
    """Maps and their quality as a pandas DataFrame, a row each; percent, ± half a 95 % interval over clips."""
    rows = []
    for found in maps:
        if isinstance(found, Projection):
            q = found.quality
            rows.append(
                {
                    "points of": found.title,
                    "method": TITLES[found.method] + (", 3-D" if found.dimensions == 3 else ""),
                    "n": len(found.coordinates),
                    "trustworthiness": f"{q.trustworthiness:.3f}",
                    "neighbours kept": percent(q.preservation),
                    "of another modality": percent(q.mixing["features"]) if q.mixing else "",
                    "on the map": percent(q.mixing["map"]) if q.mixing else "",
                    "by chance": f"{100 * q.mixing_chance:.1f} %" if q.mixing else "",
                }
            )
    return pd.DataFrame(rows)


class Atlas:
    """Makes maps of a :class:`srcid.codes.CodeTable` and keeps them on disk by content.

    All maps of features show the same places (clip and step), so that they can be linked, and those of the same
    features share their nearest neighbours. What cannot be mapped becomes a :class:`Missing`, never an exception.

    Args:
        table: the code table.
        limit: most points of a map; above it, places are sampled within classes (:func:`feature_points`).
        seed: of sampling and maps.
        cache: folder of finished maps and neighbours.
    """

    def __init__(self, table: Any, limit: int = 2000, seed: int = 0, cache: str | Path | None = None) -> None:
        self.table, self.limit, self.seed, self.cache = table, limit, seed, cache
        self._points: dict[tuple, Points] = {}

    def codebook(self, layer: int = 1, method: str = "tsne", dimensions: int = 2,
                 **settings: Any) -> Projection | Missing:  # fmt: skip
        """Map the code vectors of a layer; ``settings`` as in :func:`project`."""

        def read() -> Points:
            return codebook_points(self.table, layer)

        return self._map(("codebook", layer), f"codebook of layer {layer}", read, method, dimensions, settings)

    def features(self, layer: int = 1, kind: str = "general", modalities: Sequence[str] | None = None,
                 method: str = "tsne", dimensions: int = 2, **settings: Any) -> Projection | Missing:  # fmt: skip
        """Map general or specific features of a layer; ``settings`` as in :func:`project`."""
        title = f"{kind} features of layer {layer}" + (f", {', '.join(modalities)}" if modalities else "")
        # a map of one modality has as many points as that modality has in a map of all
        share = 1 if modalities is None else len(modalities) / len(self.table.modalities)

        def read() -> Points:
            found = feature_points(self.table, layer, kind, modalities, None, round(self.limit * share), self.seed)
            return found.shuffled(self.seed)

        names = None if modalities is None else tuple(modalities)
        return self._map((kind, layer, names), title, read, method, dimensions, settings)

    def _map(self, name: tuple, title: str, read: Callable[[], Points], method: str, dimensions: int,
             settings: dict[str, Any]) -> Projection | Missing:  # fmt: skip
        try:
            if name not in self._points:
                self._points[name] = read()
            return project(self._points[name], method, dimensions, seed=self.seed, cache=self.cache, **settings)
        except MapError as error:
            return Missing(title, "; ".join(error.problems))
        except InspectionError as error:
            return Missing(title, str(error))
