"""`convert`: from the files that authors publish to a feature store, clip by clip.

The lists are read and held against the files first; what is missing is said before a feature is read. Then each
process takes clips, writes their features to their place in the store to be, and tells what it saw; memory holds a
few clips at a time. What is finished is noted about once a second, so a killed conversion goes on where it was.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from srcid.features.checks import StoreError, annotate, check_target
from srcid.features.published import ave, avvp, captions, ucf, vggsound
from srcid.features.published.archives import Found, SourceError
from srcid.features.published.conversion_audit import ConversionAudit, conversion_audit
from srcid.features.published.partial import Partial
from srcid.features.published.plan import STEPS, Plan, Stream
from srcid.features.published.splits import Options
from srcid.features.store import FeatureStore

LAYOUTS: dict[str, Callable[[Found, Options], Plan]] = {
    **vggsound.LAYOUTS,
    **ave.LAYOUTS,
    **avvp.LAYOUTS,
    **ucf.LAYOUTS,
    **captions.LAYOUTS,
}
"""Name of a published layout -> what reads its lists."""
DTYPES = ("float32", "float16")
_CHUNK, _NOTE_SECONDS, _PROGRESS_SECONDS = 8, 1.0, 5.0


@dataclass(frozen=True)
class Converted:
    """What :func:`convert` leaves.

    Attributes:
        store: the store; None where the audit speaks against it and it was not asked for all the same.
        audit: what became of each row of the lists.
        audit_files: the audit beside the store, as JSON and as text.
        resumed: clips that an earlier, killed conversion had finished.
        read: clips whose features were read now.
    """

    store: FeatureStore | None
    audit: ConversionAudit
    audit_files: tuple[Path, Path]
    resumed: int
    read: int


def convert(
    layout: str,
    source: str | Path,
    path: str | Path,
    *,
    clip_list: str | Path | None = None,
    text: str | Path | None = None,
    dtype: str = "float32",
    jobs: int = 0,
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
        jobs: processes; 0 takes one for each processor, 8 at most.
        allow_missing: make the store without the clips that are missing or cannot be used.
        progress: where lines on the progress go; standard error by default.

    Returns:
        The store and the audit, which is written beside the store in either case. Where clips could not be used and no
        store was made, those that were read wait in ``.NAME.convert`` beside it for the next attempt.

    Raises:
        StoreError: unusable arguments, lists that do not fit, or no clip at all; nothing has been read then.
    """
    path, source = Path(path), Path(source)
    say = progress or sys.stderr
    heading = f"cannot convert {source} to a feature store at {path}:"
    problems = check_target(path)
    if layout not in LAYOUTS:
        problems.append(f"found layout '{layout}', need one of {', '.join(LAYOUTS)}")
    if dtype not in DTYPES:
        problems.append(f"found type '{dtype}', need {' or '.join(DTYPES)}")
    if jobs < 0:
        problems.append(f"found {jobs} jobs, need 1 or more, or 0 for one each processor")
    if problems:
        raise StoreError(heading, problems)
    try:
        found = Found.below(source)
        plan = LAYOUTS[layout](found, Options(*(Path(p) if p else None for p in (clip_list, text))))
    except SourceError as error:
        raise StoreError(heading, [error.heading, *error.problems]) from None
    rows = np.flatnonzero(~np.logical_or.reduce([*plan.missing().values()]))

    def audited(records: Mapping[int, Any], refused: Mapping[int, str], complete: bool) -> ConversionAudit:
        back = {int(place): int(row) for place, row in enumerate(rows)}
        return conversion_audit(
            layout,
            source,
            plan,
            found.doubled,
            {back[place]: record for place, record in records.items()},
            {back[place]: why for place, why in refused.items()},
            complete,
        )

    before = audited({}, {}, complete=False)
    if not len(rows) or not (before.usable or allow_missing):
        return Converted(None, before, before.save(path), 0, 0)
    partial = Partial(
        path,
        {name: stream.shape for name, stream in plan.streams.items()},
        STEPS,
        len(rows),
        np.dtype(dtype).newbyteorder("<").str,
        plan.fingerprint(rows, dtype),
    )
    with partial:
        resumed = len(partial.done)
        if resumed:
            print(f"{resumed:,} of {len(rows):,} clips were finished before", file=say, flush=True)
        if not partial.closing:
            _read(plan, rows, partial, jobs or min(8, os.cpu_count() or 1), say)
        read = len(partial.done) - resumed
        audit = audited(partial.done, partial.refused, complete=True)
        files = audit.save(path)
        if not partial.done or not (audit.usable or allow_missing):
            return Converted(None, audit, files, resumed, read)
        print("writing labels and checksums", file=say, flush=True)
        store = _finish(plan, rows, partial, audit, layout)
    return Converted(store, audit, files, resumed, read)


def _finish(plan: Plan, rows: np.ndarray, partial: Partial, audit: ConversionAudit, layout: str) -> FeatureStore:
    """Give the arrays their labels, splits and masks, and make them the store."""
    order = partial.close_up()
    records = [partial.done[int(place)] for place in order]
    chosen = rows[order]
    labels = {name: values[chosen] for name, values in plan.labels.items()}
    if plan.presence and "event" in labels:
        labels["event"] &= np.array([record["presence"] for record in records], bool)[..., None]
    masks = {
        name: np.arange(STEPS) < np.array([[record["steps"][name]] for record in records])
        for name, stream in plan.streams.items()
        if stream.fill == "mask"
    }
    media = {}
    for name, words in plan.media.items():
        if words:
            media[name] = np.array([(words[row] + [""] * STEPS)[:STEPS] for row in chosen])
    splits = np.array([plan.splits[row] for row in chosen])
    checked, problems = annotate(
        [*plan.streams],
        len(chosen),
        STEPS,
        labels=labels,
        classes=plan.classes,
        splits={name: np.flatnonzero(splits == name) for name in dict.fromkeys(splits.tolist()) if name},
        ids=[plan.ids[row] for row in chosen],
        masks=masks,
        media=media,
        visible_in=plan.visible_in,
        provenance={"name": layout, "layout": layout, **plan.provenance, "audit": audit.summary()},
    )
    if problems:
        raise StoreError(f"cannot make a feature store at {partial.path}:", problems)
    return partial.publish(checked, plan.evaluation_only)


def _read(plan: Plan, rows: np.ndarray, partial: Partial, jobs: int, say: TextIO) -> None:
    """Have the features of all rows that are not finished read and written."""
    todo = [place for place in range(len(rows)) if place not in partial.done]
    reads = plan.reads()
    bare = {name: replace(stream, where=()) for name, stream in reads.items()}
    tasks = [
        [(place, {name: stream.where[rows[place]] for name, stream in reads.items()}) for place in todo[i : i + _CHUNK]]
        for i in range(0, len(todo), _CHUNK)
    ]
    clock = Progress(len(rows), len(partial.done), say)
    start = (partial.places(), bare, partial.shapes, partial.dtype.str)
    waiting: list[dict[str, Any]] = []
    noted = time.monotonic()
    try:
        for records in _spread(tasks, min(jobs, len(tasks)), start):
            for record in records:
                if "refused" in record:
                    partial.refused[record["row"]] = record["refused"]
                else:
                    waiting.append(record)
            clock.advance(len(records))
            if time.monotonic() - noted > _NOTE_SECONDS:
                partial.note(waiting)
                waiting, noted = [], time.monotonic()
    finally:
        partial.note(waiting)
    clock.end()


def _spread(tasks: Sequence[Any], jobs: int, start: tuple[Any, ...]) -> Iterator[list[dict[str, Any]]]:
    """Yield what became of clips, in any order, at least every second; few are under way at a time."""
    if jobs <= 1:
        worker = _Worker(*start)
        try:
            yield from map(worker.run, tasks)
        finally:
            worker.close()
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, _begin, start) as pool:
        try:
            queue, running = iter(tasks), set()
            while True:
                running |= {pool.submit(_run, task) for task in islice(queue, 4 * jobs - len(running))}
                if not running:
                    return
                finished, running = wait(running, _NOTE_SECONDS, FIRST_COMPLETED)
                yield [record for future in finished for record in future.result()]
        except BrokenProcessPool:
            raise StoreError(
                "the conversion was cut off:",
                ["a process was killed, perhaps for want of memory; the same command goes on, fewer --jobs need less"],
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


class _Worker:
    """Reads clips and writes their features to their places."""

    def __init__(
        self,
        places: Mapping[str, tuple[str, int, int]],
        streams: Mapping[str, Stream],
        shapes: Mapping[str, tuple[int, ...]],
        dtype: str,
    ):
        self.places, self.streams, self.shapes, self.dtype = places, streams, shapes, np.dtype(dtype)
        self.files = {name: os.open(file, os.O_WRONLY) for name, (file, _, _) in places.items()}

    def run(self, task: Sequence[tuple[int, Mapping[str, Any]]]) -> list[dict[str, Any]]:
        return [self.clip(row, where) for row, where in task]

    def clip(self, row: int, where: Mapping[str, Any]) -> dict[str, Any]:
        """Convert one clip; return what was seen of it, or why it is refused."""
        record: dict[str, Any] = {"row": row, "steps": {}, "constant": [], "digest": {}}
        features = {}
        for name, stream in self.streams.items():
            try:
                given = stream.source.read(where[name])
                if name not in self.shapes:
                    record["presence"] = _presence(given)
                    continue
                features[name], record["steps"][name] = self.fit(name, stream, given)
            except SourceError as error:
                said = str(error)
                file = getattr(stream.source, "file", where[name])
                return {"row": row, "refused": said if str(file) in said else f"{file}: {said}"}
            if stream.fill == "repeat":
                kept = features[name]
                if record["steps"][name] > 1 and all((step == kept[0]).all() for step in kept[1:]):
                    record["constant"].append(name)
                record["digest"][name] = hashlib.sha256(kept.data).hexdigest()[:24]
        for name, array in features.items():
            _, begin, size = self.places[name]
            _write(self.files[name], array, begin + row * size)
        return record

    def fit(self, name: str, stream: Stream, given: np.ndarray) -> tuple[np.ndarray, int]:
        """Return features ``[STEPS, ...]`` of the store's type, and how many steps were given.

        Raises:
            SourceError: other shapes or types, no step, or values that are not finite.
        """
        if given.shape == stream.shape:
            given = given[None]  # a picture
        if given.ndim != len(stream.shape) + 1 or given.shape[1:] != stream.shape or given.dtype.kind not in "fiub":
            need = ", ".join(map(str, ("t", *stream.shape)))
            raise SourceError(f"found {name} {given.dtype} {[*given.shape]}, need numbers [{need}]")
        steps = len(given)
        if not steps and stream.fill == "repeat":
            raise SourceError(f"found {name} without any step")
        kept = np.zeros((STEPS, *stream.shape), self.dtype)
        with np.errstate(over="ignore"):
            kept[:steps] = given[:STEPS]
        if not np.isfinite(kept).all():
            bad = int((~np.isfinite(kept)).sum())
            beyond = " as float16" if np.isfinite(given[:STEPS]).all() else ""
            raise SourceError(f"found {bad} values of {name} that are not finite{beyond}")
        if stream.fill == "repeat":
            kept[steps:] = kept[min(steps, STEPS) - 1]
        return kept, steps

    def close(self) -> None:
        for file in self.files.values():
            os.close(file)


_worker: _Worker | None = None


def _begin(*start: Any) -> None:
    """Prepare a process of the pool: the parent minds interrupts, and no process outlives it."""
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
    _worker = _Worker(*start)


def _run(task: Any) -> list[dict[str, Any]]:
    return _worker.run(task)


def _presence(given: np.ndarray) -> list[int]:
    """Return at which seconds the event of a clip holds, from a label archive ``[10]``."""
    seconds = given.ravel()
    if seconds.size != STEPS or given.dtype.kind not in "fiub":
        raise SourceError(f"found label {given.dtype} {[*given.shape]}, need [{STEPS}] numbers, 1 where the event is")
    return [int(second > 0.5) for second in seconds]


def _write(file: int, array: np.ndarray, offset: int) -> None:
    data = memoryview(array).cast("B")
    while len(data):
        written = os.pwrite(file, data, offset)
        data, offset = data[written:], offset + written


class Progress:
    """Says every few seconds how far it is, how fast, and how long it will take."""

    def __init__(self, total: int, done: int, say: TextIO):
        self.total, self.done, self.begun_with, self.say = total, done, done, say
        self.begun = self.said = time.monotonic()

    def advance(self, clips: int) -> None:
        self.done += clips
        now = time.monotonic()
        if now - self.said < _PROGRESS_SECONDS:
            return
        self.said = now
        share = 100 * self.done // self.total
        line = f"{self.done:,} of {self.total:,} clips ({share} %)"
        if read := self.done - self.begun_with:  # none yet while processes start
            rate = read / (now - self.begun)
            line += f", {rate:,.1f} clips/s, {duration((self.total - self.done) / rate)} left"
        print(line, file=self.say, flush=True)

    def end(self) -> None:
        took = max(time.monotonic() - self.begun, 1e-9)
        read = self.done - self.begun_with
        if read:
            print(f"{read:,} clips read in {duration(took)}, {read / took:,.1f} clips/s", file=self.say, flush=True)


def duration(seconds: float) -> str:
    """Return a length of time in words, e.g. ``2 h 5 min`` or ``40 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
