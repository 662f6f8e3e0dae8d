"""`ConversionAudit`: what the lists promised, what was found, and what became of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from srcid.features.checks import SPLITS
from srcid.features.published.plan import STEPS, Plan, few
from srcid.files import write_json

_CLASSES_SHOWN = 15
_REFUSED_SHOWN = 10


@dataclass(frozen=True)
class ConversionAudit:
    """What became of each row of the lists.

    Attributes:
        layout, source: what was converted.
        verdict: sentences, the worst first; what to know before anything else.
        usable: whether every row of the lists is in the store and nothing speaks against the lists.
        splits: split -> rows ``listed``, ``found`` (with files for every modality) and ``used`` (in the store).
        classes: class -> split -> the same three numbers.
        missing: modality (or ``label``) -> clips without a file for it.
        refused: clip -> why its files cannot be used: damaged, other shapes, not finite, or not just arrays.
        extra: modality -> files that no row asks for.
        doubled: files that have the name of another one.
        short, long: modality -> clip -> steps found, where that is not :data:`STEPS`. Words of sentences are not
            counted here.
        constant: modality -> clips whose steps are all equal.
        identical: modality -> groups of clips with equal features.
        wordless: sentences without a known word.
        notes: sentences on the lists.
    """

    layout: str
    source: str
    verdict: tuple[str, ...]
    usable: bool
    splits: dict[str, dict[str, int]]
    classes: dict[str, dict[str, dict[str, int]]]
    missing: dict[str, list[str]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    extra: dict[str, list[str]] = field(default_factory=dict)
    doubled: list[str] = field(default_factory=list)
    short: dict[str, dict[str, int]] = field(default_factory=dict)
    long: dict[str, dict[str, int]] = field(default_factory=dict)
    constant: dict[str, list[str]] = field(default_factory=dict)
    identical: dict[str, list[list[str]]] = field(default_factory=dict)
    wordless: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Return the numbers without the names, for a store's provenance."""
        return {
            "verdict": list(self.verdict),
            "usable": self.usable,
            "splits": self.splits,
            "notes": list(self.notes),
            "counts": {
                "refused": len(self.refused),
                "doubled files": len(self.doubled),
                "sentences without known words": len(self.wordless),
                **{
                    f"{word} {m}": len(names)
                    for word in ("missing", "extra", "short", "long", "constant")
                    for m, names in getattr(self, word).items()
                    if names
                },
                **{f"identical {m}": sum(map(len, groups)) for m, groups in self.identical.items() if groups},
            },
        }

    def text(self) -> str:
        """Return the audit as lines to read, the verdict first."""
        rows = [[split, *(f"{n:,}" for n in counts.values())] for split, counts in self.splits.items()]
        parts = [f"{self.layout} from {self.source}", *(f"  {sentence}" for sentence in self.verdict), ""]
        parts += _columns(["split", "listed", "found", "used"], rows)
        lacking = [
            (sum(c["listed"] - c["used"] for c in counts.values()), name, counts)
            for name, counts in self.classes.items()
        ]
        lacking = sorted((row for row in lacking if row[0]), key=lambda row: (-row[0], row[1]))
        if lacking:
            splits = list(self.splits)
            rows = [
                [name, *(f"{c[s]['used']:,} of {c[s]['listed']:,}" if s in c else "" for s in splits)]
                for _, name, c in lacking[:_CLASSES_SHOWN]
            ]
            parts += ["", *_columns(["class (used of listed)", *splits], rows)]
            if len(lacking) > _CLASSES_SHOWN:
                parts.append(f"  and {len(lacking) - _CLASSES_SHOWN:,} more classes")
        looks = self._looks()
        if looks:
            parts += ["", "Worth a look", *(f"  - {look}" for look in looks)]
        return "\n".join(parts) + "\n"

    def save(self, store: Path) -> tuple[Path, Path]:
        """Write the audit beside a store, as ``NAME.audit.json`` and ``NAME.audit.txt``; return both paths."""
        paths = audit_files(store)
        store.parent.mkdir(parents=True, exist_ok=True)
        write_json(paths[0], asdict(self))
        paths[1].write_text(self.text(), encoding="utf-8")
        return paths

    @classmethod
    def saved(cls, store: Path) -> ConversionAudit | None:
        """Return the audit that :meth:`save` wrote beside a store, or None where there is none that can be read."""
        with contextlib.suppress(OSError, ValueError, TypeError, RecursionError):
            audit = cls(**json.loads(audit_files(store)[0].read_text(encoding="utf-8")))
            return replace(audit, verdict=tuple(audit.verdict))
        return None

    def _looks(self) -> list[str]:
        looks = list(self.notes)
        looks += [f"{m}: {len(names):,} clips have no file: {few(names)}" for m, names in self.missing.items()]
        looks += [f"{clip} is left out: {why}" for clip, why in list(self.refused.items())[:_REFUSED_SHOWN]]
        for m, names in self.extra.items():
            looks.append(f"{m}: {len(names):,} files belong to no row of the list: {few(names)}")
        if self.doubled:
            names = few(self.doubled)
            looks.append(f"{len(self.doubled):,} files have the name of another one, which counts: {names}")
        for m, clips in self.short.items():
            looks.append(f"{m}: {len(clips):,} clips are short, their last step is repeated: {_lengths(clips)}")
        for m, clips in self.long.items():
            looks.append(f"{m}: {len(clips):,} clips are cut to {STEPS} steps: {_lengths(clips)}")
        for m, names in self.constant.items():
            looks.append(f"{m}: {len(names):,} clips do not change over time: {few(names)}")
        for m, groups in self.identical.items():
            clips, named = sum(map(len, groups)), few([" = ".join(group[:4]) for group in groups], 3)
            looks.append(f"{m}: {clips:,} clips share features with another one, in {len(groups):,} groups: {named}")
        return looks


def audit_files(store: Path) -> tuple[Path, Path]:
    """Return where the audit of a store lies: JSON, and text."""
    return store.with_name(f"{store.name}.audit.json"), store.with_name(f"{store.name}.audit.txt")


def conversion_audit(
    layout: str,
    source: Path,
    plan: Plan,
    doubled: list[str],
    clips: Mapping[int, Any],
    refused: Mapping[int, str],
    complete: bool,
) -> ConversionAudit:
    """Return the audit of a conversion; ``clips`` (what was seen of each) and ``refused`` by row of the plan.

    Args:
        complete: whether features were read; without, only the files were counted.
    """
    missing = plan.missing()
    absent = np.logical_or.reduce(list(missing.values()))
    used = np.zeros(len(plan.ids), bool)
    used[list(clips)] = True
    splits: dict[str, dict[str, int]] = {}
    classes: dict[str, dict[str, dict[str, int]]] = {}
    for row, (split, name) in enumerate(zip(plan.splits, plan.categories, strict=True)):
        slots = [splits] + ([classes.setdefault(name, {})] if name else [])
        for slot in slots:
            counts = slot.setdefault(split or "(none)", {"listed": 0, "found": 0, "used": 0})
            counts["listed"] += 1
            counts["found"] += not absent[row]
            counts["used"] += bool(used[row])
    faults = list(plan.faults)
    if plan.expected and len(plan.ids) < 0.95 * plan.expected:
        faults.insert(0, f"the list has {len(plan.ids):,} rows, this data set has about {plan.expected:,}")
    for split, counts in splits.items():
        if counts["found"] < counts["listed"]:
            lost = counts["listed"] - counts["found"]
            faults.append(f"{lost:,} of {counts['listed']:,} clips of the {split} list have no features")
    if refused:
        first = next(iter(refused.values()))
        faults.append(f"{len(refused):,} of {len(plan.ids):,} clips have features that cannot be used, e.g. {first}")
    lengths: dict[str, dict[str, dict[str, int]]] = {"short": {}, "long": {}}
    constant: dict[str, list[str]] = {}
    same: dict[str, dict[str, list[int]]] = {}
    wordless = set()
    for row, clip in sorted(clips.items()):
        for name, steps in clip.steps.items():
            stream = plan.streams[name]
            if stream.fill == "mask":
                wordless |= {stream.source.name_of(stream.where[row])} if not steps else set()
            elif steps != STEPS:
                lengths["short" if steps < STEPS else "long"].setdefault(name, {})[plan.ids[row]] = steps
        for name in clip.constant:
            constant.setdefault(name, []).append(plan.ids[row])
        for name, digest in clip.digest.items():
            same.setdefault(name, {}).setdefault(digest, []).append(row)
    if wordless and not any("known word" in fault for fault in faults):
        faults.append(f"{len(wordless):,} sentences have no known word: {few(sorted(wordless))}")
    verdict = faults or [
        f"all {len(plan.ids):,} clips of the list have features" + ("" if complete else "; they were not read yet")
    ]
    return ConversionAudit(
        layout,
        str(source),
        tuple(verdict),
        not faults,
        dict(sorted(splits.items(), key=lambda item: _place(item[0]))),
        dict(sorted(classes.items())),
        missing={name: [plan.ids[row] for row in np.flatnonzero(rows)] for name, rows in missing.items() if rows.any()},
        refused={plan.ids[row]: why for row, why in refused.items()},
        extra={name: names for name, names in plan.extra.items() if names},
        doubled=doubled,
        **lengths,
        constant=constant,
        identical={name: groups for name, rows in same.items() if (groups := _groups(plan, rows.values()))},
        wordless=sorted(wordless),
        notes=list(plan.notes),
    )


def _groups(plan: Plan, groups: Iterable[list[int]]) -> list[list[str]]:
    """Return the clips of groups of two and more; captions of one item share its features by design."""
    items = plan.labels.get("item", np.arange(len(plan.ids)))
    return [[plan.ids[row] for row in rows] for rows in groups if len({int(items[row]) for row in rows}) > 1]


def _place(split: str) -> tuple[int, str]:
    """Order of splits: train, val, test, and others by name."""
    return (*SPLITS, split).index(split), split


def _lengths(clips: Mapping[str, int]) -> str:
    return few([f"{clip} ({steps})" for clip, steps in clips.items()])


def _columns(header: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    return [
        "  " + "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in [header, *rows]
    ]
