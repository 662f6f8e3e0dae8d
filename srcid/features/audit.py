"""`audit`: one look over a whole store for what spoils experiments unnoticed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from srcid.features.checks import chunks
from srcid.features.store import FeatureStore

if TYPE_CHECKING:
    import pandas as pd


IMBALANCE = 5.0
"""Times that the commonest class of "event" may be as frequent in a split as the rarest."""


@dataclass(frozen=True)
class StoreAudit:
    """What :func:`audit` found.

    Attributes:
        clips: clips per split, and under ``(none)`` those in no split.
        balance_counts: label -> split -> class -> clips that show the class at all; what is unlabelled takes no part.
            ``(none)`` are those without any class, the background of ``event``.
        constant: modality -> number of features (entries of a step) that never change over the present steps.
        non_finite: modality -> values that are NaN or infinite.
        missing: modality -> steps that are masked out.
        zero: modality -> steps that are present and zero throughout, padding that no mask tells of.
        repeated: modality -> steps that are present, not zero and equal the step before.
        padding: steps that do so in every modality at once: short clips were filled with their last step.
        duplicates: modality -> groups of clips (row numbers) with equal features; rows of one ``item`` (several
            captions of it) repeat its features by design and are none.
        problems: sentences on all that deserves a look; empty where nothing does.
    """

    clips: dict[str, int]
    balance_counts: dict[str, dict[str, dict[str, int]]]
    constant: dict[str, int]
    non_finite: dict[str, int]
    missing: dict[str, int]
    zero: dict[str, int]
    repeated: dict[str, int]
    padding: int
    duplicates: dict[str, tuple[tuple[int, ...], ...]]
    problems: tuple[str, ...]

    def frame(self) -> pd.DataFrame:
        """One row a modality: how many features, steps and clips deserve a look."""
        import pandas as pd

        rows = [
            {
                "constant features": self.constant[m],
                "non-finite values": self.non_finite[m],
                "masked steps": self.missing[m],
                "zero steps": self.zero[m],
                "repeated steps": self.repeated[m],
                "duplicated clips": sum(len(group) - 1 for group in self.duplicates[m]),
            }
            for m in self.constant
        ]
        return pd.DataFrame(rows, index=pd.Index(self.constant, name="modality"))

    @property
    def used(self) -> dict[str, int]:
        """Clips per split, and those in no split where there are any."""
        return {name: count for name, count in self.clips.items() if count or name != "(none)"}

    def shares(self) -> pd.DataFrame:
        """Share of each split's clips (rows) that show each class of "event" (columns); empty without the label."""
        import pandas as pd

        counts = pd.DataFrame(self.balance_counts.get("event", {})).T.drop(columns="(none)", errors="ignore")
        return counts.div([max(self.clips[split], 1) for split in counts.index], axis=0)

    @property
    def finding(self) -> str:
        """How many clips there are, how rare and common classes of ``event`` are, and what is wrong."""
        said, shares = f"{sum(self.used.values()):,} clips in {len(self.used)} splits", self.shares()
        if shares.size:
            least, most = shares.to_numpy().min(), shares.to_numpy().max()
            said += f"; a class of 'event' occurs in {least:.0%} to {most:.0%} of a split's clips"
        count = len(self.problems)
        return f"{said}; {f'{count} problem' + 's' * (count > 1) if count else 'no problems'} found"


def audit(store: FeatureStore) -> StoreAudit:
    """Look over every value of ``store`` once, in bounded memory."""
    items = store.labels.get("item", np.arange(store.clips))
    scans = {m: _scan(store.features[m], store.masks[m], items) for m in store.modalities}
    inside = sum(len(rows) for rows in store.splits.values())
    found = StoreAudit(
        clips={name: len(rows) for name, rows in store.splits.items()} | {"(none)": store.clips - inside},
        balance_counts=_balance(store),
        constant={m: scan["constant"] for m, scan in scans.items()},
        non_finite={m: scan["non_finite"] for m, scan in scans.items()},
        missing={m: int((~store.masks[m]).sum()) for m in store.modalities},
        zero={m: scan["zero"] for m, scan in scans.items()},
        repeated={m: int(scan["repeated"].sum()) for m, scan in scans.items()},
        padding=int(np.logical_and.reduce([scan["repeated"] for scan in scans.values()]).sum()),
        duplicates={m: scan["duplicates"] for m, scan in scans.items()},
        problems=(),
    )
    return replace(found, problems=tuple(_problems(found, store)))


def _scan(features: np.ndarray, mask: np.ndarray, items: np.ndarray) -> dict:
    low = high = None
    non_finite = zero = 0
    repeated = np.zeros(mask.shape, bool)
    seen: dict[bytes, list[int]] = {}
    for part in chunks(features):
        values, present = np.asarray(features[part]), mask[part]
        flat = values.reshape(*present.shape, -1)
        non_finite += int((~np.isfinite(flat)).sum())
        empty = ~flat.any(axis=-1) & present
        zero += int(empty.sum())
        same = (flat[:, 1:] == flat[:, :-1]).all(axis=-1)
        repeated[part, 1:] = same & present[:, 1:] & present[:, :-1] & ~empty[:, 1:]
        if present.any():
            here = flat[present]
            low = here.min(axis=0) if low is None else np.minimum(low, here.min(axis=0))
            high = here.max(axis=0) if high is None else np.maximum(high, here.max(axis=0))
        for row, clip in enumerate(values, part.start):
            seen.setdefault(hashlib.sha256(np.ascontiguousarray(clip)).digest(), []).append(row)
    return {
        "constant": 0 if low is None else int((low == high).sum()),
        "non_finite": non_finite,
        "zero": zero,
        "repeated": repeated,
        "duplicates": tuple(tuple(rows) for rows in seen.values() if len(np.unique(items[rows])) > 1),
    }


def _balance(store: FeatureStore) -> dict[str, dict[str, dict[str, int]]]:
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for name, info in store.label_info.items():
        if info.kind == "continuous":
            continue
        labels, by_step = store.labels[name], info.level == "step"
        known = store.labelled.get(name, np.ones(labels.shape[: 1 + by_step], bool))
        if by_step:
            known = known & np.logical_or.reduce([store.masks[m] for m in info.visible_in])
        for split, rows in store.splits.items():
            values = labels[rows]
            if info.kind == "category":
                values = values[..., None] == np.arange(len(info.classes))
            values = np.concatenate([values, ~values.any(axis=-1, keepdims=True)], axis=-1)
            shown = values & known[rows][..., None]
            clips = (shown.any(axis=1) if by_step else shown).sum(axis=0)
            counts.setdefault(name, {})[split] = dict(zip([*info.classes, "(none)"], clips.tolist(), strict=True))
    return counts


def _problems(found: StoreAudit, store: FeatureStore) -> list[str]:
    conversion = store.provenance.get("audit", {})  # of the lists, see srcid.features.published
    problems = [] if conversion.get("usable", True) else [f"conversion: {said}" for said in conversion["verdict"]]
    if found.clips["(none)"]:
        problems.append(f"{found.clips['(none)']} clips are in no split")
    if found.padding:
        problems.append(f"{found.padding} steps repeat the step before in every modality, which looks like padding")
    owner = {int(row): split for split, rows in store.splits.items() for row in rows}
    for m in store.modalities:
        if found.non_finite[m]:
            problems.append(f"{m}: {found.non_finite[m]} values are not finite")
        if found.constant[m]:
            width = int(np.prod(store.shapes[m]))
            problems.append(f"{m}: {found.constant[m]} of {width} features never change")
        if found.zero[m]:
            problems.append(f"{m}: {found.zero[m]} steps are zero throughout and not masked, which looks like padding")
        if found.missing[m]:
            problems.append(f"{m}: {found.missing[m]} of {store.clips * store.steps} steps are masked out")
        if found.duplicates[m]:
            groups = found.duplicates[m]
            across = sum(len({owner.get(row) for row in group}) > 1 for group in groups)
            first = ", ".join(map(str, groups[0][:5]))
            problems.append(
                f"{m}: {sum(map(len, groups)) - len(groups)} clips duplicate another one "
                f"(first: rows {first}); {across} of {len(groups)} groups reach over several splits"
            )
    for name, known in store.labelled.items():
        clips = int((~known.reshape(store.clips, -1).any(axis=1)).sum())
        more = f", and {int((~known).sum()):,} of {known.size:,} steps" if known.ndim == 2 else ""
        problems.append(f"{name}: {clips:,} of {store.clips:,} clips are unlabelled{more}")
    for split, counts in found.balance_counts.get("event", {}).items():
        present = {name: count for name, count in counts.items() if name != "(none)"}
        absent = [name for name, count in present.items() if not count]
        if absent:
            problems.append(f"event: split {split} has no clip of {', '.join(absent)}")
        shown = [count for count in present.values() if count]
        if shown and max(shown) > IMBALANCE * min(shown):
            problems.append(
                f"event: in split {split} the commonest class has {max(shown)} clips, the rarest {min(shown)}"
            )
    return problems
