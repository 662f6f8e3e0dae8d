"""`convert`: from the files that authors publish to a feature store, clip by clip.

The lists are read and held against the files first; what is missing is said before a feature is read. Then features
stream into the store to be, one clip in memory at a time. The store appears whole at the end or not at all: a
conversion that was killed leaves nothing to go on with and is begun again (VGGSound-AVEL 40k takes minutes).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from tqdm import tqdm

from srcid.features.checks import FILE_NAME, StoreError, bad_name, check_room, check_target, matches
from srcid.features.published import ave, captions, vggsound
from srcid.features.published.archives import Found, SourceError
from srcid.features.published.conversion_audit import ConversionAudit, audit_files, conversion_audit
from srcid.features.published.plan import STEPS, Options, Plan, Stream
from srcid.features.store import FeatureStore
from srcid.features.writer import answers, keep_request, may_answer, request_of
from srcid.values import shorten

LAYOUTS: dict[str, Callable[[Found, Options], Plan]] = {**vggsound.LAYOUTS, **ave.LAYOUTS, **captions.LAYOUTS}
"""Name of a published layout -> what reads its lists."""
DTYPES = ("float32", "float16")


@dataclass(frozen=True)
class Converted:
    """What :func:`convert` leaves.

    Attributes:
        store: the store; None where the audit speaks against it and it was not asked for all the same.
        audit: what became of each row of the lists.
        audit_files: the audit beside the store, as JSON and as text.
    """

    store: FeatureStore | None
    audit: ConversionAudit
    audit_files: tuple[Path, Path]


def convert(
    layout: str,
    source: str | Path,
    path: str | Path,
    *,
    clip_list: str | Path | None = None,
    text: str | Path | None = None,
    dtype: str = "float32",
    allow_missing: bool = False,
    progress: TextIO | None = None,
) -> Converted:
    """Make a feature store at ``path`` of published features, or say why not.

    Args:
        layout: one of :data:`LAYOUTS`; ``data/README.md`` says what to download for each.
        source: folder that holds the published files, in any arrangement.
        clip_list: list of clips to take instead of the one found by its name.
        text: word vectors of the classes' sentences or of captions, ``.npz`` or ``.npy``
            (:class:`~srcid.features.published.archives.Sentences`).
        dtype: ``float32``, or ``float16`` for half the room.
        allow_missing: make the store without the clips that are missing or cannot be used. Otherwise the first clip
            that cannot be used ends the store, and the rest is read to name all others.
        progress: where the progress bar goes; standard error by default.

    Returns:
        The store and the audit, which is written beside the store in either case. A store that the same call made of
        the same files is returned as it is.

    Raises:
        StoreError: unusable arguments, lists that do not fit, too small a disk; nothing has been read then.
    """
    path, source = Path(path), Path(source)
    heading = f"cannot convert {source} to a feature store at {path}:"
    options = dict(layout=layout, source=source, list=clip_list, text=text, dtype=dtype, missing=allow_missing)
    problems = [] if may_answer(path) else check_target(path)
    if layout not in LAYOUTS:
        problems.append(f"found layout {shorten(layout)}, need one of {', '.join(LAYOUTS)}")
    if dtype not in DTYPES:
        problems.append(f"found type {shorten(dtype)}, need {' or '.join(DTYPES)}")
    StoreError.check(heading, problems)
    try:
        found = Found.below(source)
        request = request_of(found.files, path, **options)
        if answers(path, request) and (audit := ConversionAudit.saved(path)):
            return Converted(FeatureStore.open(path), audit, audit_files(path))
        StoreError.check(heading, check_target(path))
        plan = LAYOUTS[layout](found, Options(*(Path(p) if p else None for p in (clip_list, text))))
    except SourceError as error:
        raise StoreError(heading, [error.heading, *error.problems]) from None
    splits = sorted(set(plan.splits) - {""})
    StoreError.check(heading, [bad_name("split", split) for split in splits if not matches(FILE_NAME, split)])
    rows = np.flatnonzero(~np.logical_or.reduce([*plan.missing().values()]))

    def audited(clips: Mapping[int, Clip], refused: Mapping[int, str], complete: bool) -> ConversionAudit:
        return conversion_audit(layout, source, plan, found.doubled, clips, refused, complete)

    before = audited({}, {}, complete=False)
    if not len(rows) or not (before.usable or allow_missing):
        return Converted(None, before, before.save(path))
    shapes = {name: stream.shape for name, stream in plan.streams.items()}
    types = dict.fromkeys(shapes, np.dtype(dtype).newbyteorder("<"))
    need = len(rows) * STEPS * np.dtype(dtype).itemsize * sum(map(math.prod, shapes.values()))
    StoreError.check(heading, check_room(path, need))
    clips: dict[int, Clip] = {}
    refused: dict[int, str] = {}
    with FeatureStore.writer(path, shapes, STEPS, types, evaluation_only=len(shapes) == 1) as writer:
        for row in tqdm(rows.tolist(), unit="clip", file=progress, mininterval=2):
            try:
                features, clips[row] = read_clip(plan, row, dtype)
            except SourceError as error:
                refused[row] = str(error)
                continue
            if allow_missing or not refused:
                for name, array in features.items():
                    writer.write(name, array[None])
        audit = audited(clips, refused, complete=True)
        files = audit.save(path)
        if not clips or not (audit.usable or allow_missing):
            writer.discard()
            return Converted(None, audit, files)
        keep_request(writer.folder, request)
        provenance = {"name": layout, "layout": layout, **plan.provenance, "audit": audit.summary()}
        store = writer.finish(**_annotations(plan, clips), provenance=provenance)
    return Converted(store, audit, files)


@dataclass(frozen=True)
class Clip:
    """What was seen of a clip while it was read.

    Attributes:
        steps: modality -> steps given.
        constant: modalities whose steps are all equal.
        digest: modality -> hash of its features; of sentences none is taken.
        presence: at which seconds its event holds; empty where no label archive says.
    """

    steps: dict[str, int]
    constant: tuple[str, ...]
    digest: dict[str, str]
    presence: tuple[bool, ...] = ()


def read_clip(plan: Plan, row: int, dtype: str) -> tuple[dict[str, np.ndarray], Clip]:
    """Return the features ``{modality: [STEPS, ...]}`` of a row, and what was seen of it.

    Raises:
        SourceError: its files are damaged, too large, not just arrays of numbers, or of other shapes; names the file.
    """
    features: dict[str, np.ndarray] = {}
    steps: dict[str, int] = {}
    presence: tuple[bool, ...] = ()
    for name, stream in plan.reads().items():
        try:
            given = stream.source.read(stream.where[row])
            if name in plan.streams:
                features[name], steps[name] = _fit(name, stream, given, dtype)
            else:
                presence = _presence(given)
        except SourceError as error:
            file = str(getattr(stream.source, "file", stream.where[row]))
            raise error if file in str(error) else SourceError(f"{file}: {error}") from None
    repeating = [name for name, stream in plan.streams.items() if stream.fill == "repeat"]
    constant = [m for m in repeating if steps[m] > 1 and (features[m] == features[m][0]).all()]
    digest = {name: hashlib.sha256(features[name].data).hexdigest()[:24] for name in repeating}
    return features, Clip(steps, tuple(constant), digest, presence)


def _fit(name: str, stream: Stream, given: np.ndarray, dtype: str) -> tuple[np.ndarray, int]:
    """Return features ``[STEPS, ...]`` of the store's type, and how many steps were given."""
    if given.shape == stream.shape:
        given = given[None]  # a picture
    if given.ndim != len(stream.shape) + 1 or given.shape[1:] != stream.shape or given.dtype.kind not in "fiub":
        need = ", ".join(map(str, ("t", *stream.shape)))
        raise SourceError(f"found {name} {given.dtype} {[*given.shape]}, need numbers [{need}]")
    steps = len(given)
    if not steps and stream.fill == "repeat":
        raise SourceError(f"found {name} without any step")
    kept = np.zeros((STEPS, *stream.shape), dtype)
    with np.errstate(over="ignore"):
        kept[:steps] = given[:STEPS]
    if not np.isfinite(kept).all():
        bad = int((~np.isfinite(kept)).sum())
        beyond = " as float16" if np.isfinite(given[:STEPS]).all() else ""
        raise SourceError(f"found {bad} values of {name} that are not finite{beyond}")
    if stream.fill == "repeat":
        kept[steps:] = kept[min(steps, STEPS) - 1]
    return kept, steps


def _presence(given: np.ndarray) -> tuple[bool, ...]:
    """Return at which seconds the event of a clip holds, from a label archive ``[10]``."""
    seconds = given.ravel()
    if seconds.size != STEPS or given.dtype.kind not in "fiub":
        raise SourceError(f"found label {given.dtype} {[*given.shape]}, need [{STEPS}] numbers, 1 where the event is")
    return tuple((seconds > 0.5).tolist())


def _annotations(plan: Plan, clips: Mapping[int, Clip]) -> dict[str, Any]:
    """Everything but features of the store of these rows, as :meth:`StoreWriter.finish` takes it."""
    rows = list(clips)
    labels = {name: values[rows] for name, values in plan.labels.items()}
    if plan.presence and "event" in labels:
        labels["event"] &= np.array([clip.presence for clip in clips.values()])[..., None]
    masks = {
        name: np.arange(STEPS) < np.array([[clip.steps[name]] for clip in clips.values()])
        for name, stream in plan.streams.items()
        if stream.fill == "mask"
    }
    media = {
        name: np.array([(words[row] + [""] * STEPS)[:STEPS] for row in rows])
        for name, words in plan.media.items()
        if words
    }
    splits = np.array([plan.splits[row] for row in rows])
    return dict(
        labels=labels,
        classes=plan.classes,
        splits={name: np.flatnonzero(splits == name) for name in dict.fromkeys(splits.tolist()) if name},
        ids=[plan.ids[row] for row in rows],
        masks=masks,
        media=media,
        visible_in=plan.visible_in,
    )
