"""AVE and AVVP (LLP): events by the second.

AVE has 4,143 clips with one event each, everything in HDF5 files by the row of ``Annotations.txt``. AVVP has several
events a clip, heard and seen apart in the evaluation clips, and one archive a clip and modality. Twelve classes are in
both.
"""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np

from srcid.features.published.archives import Found, SourceError, check_hdf5
from srcid.features.published.lists import AveClip, Events, ave_annotations, avvp_events, event_seconds, order
from srcid.features.published.plan import SHAPES, STEPS, Options, Plan, archived, few, sentences, whole

CLASSES = (
    "Accordion", "Acoustic_guitar", "Baby_cry_infant_cry", "Baby_laughter", "Banjo", "Basketball_bounce", "Blender",
    "Car", "Cat", "Cello", "Chainsaw", "Cheering", "Chicken_rooster", "Clapping", "Dog", "Fire_alarm", "Frying_(food)",
    "Helicopter", "Lawn_mower", "Motorcycle", "Singing", "Speech", "Telephone_bell_ringing", "Vacuum_cleaner",
    "Violin_fiddle",
)  # fmt: skip

SHARED = {
    "Accordion": ("Accordion",),
    "Acoustic_guitar": ("Acoustic guitar",),
    "Baby_cry_infant_cry": ("Baby cry, infant cry",),
    "Banjo": ("Banjo",),
    "Cat": ("Cat",),
    "Chainsaw": ("Chainsaw",),
    "Dog": ("Bark",),
    "Frying_(food)": ("Frying (food)",),
    "Helicopter": ("Helicopter",),
    "Motorcycle": ("Motorcycle",),
    "Speech": ("Female speech, woman speaking", "Male speech, man speaking"),
    "Violin_fiddle": ("Violin, fiddle",),
}
"""The twelve classes that AVVP and AVE share, by their names: AVVP's -> AVE's."""


def ave_plan(found: Found, options: Options, shared: bool = False) -> Plan:
    """Return what the lists of AVE say; with ``shared`` of the clips whose class AVVP has too.

    Raises:
        SourceError: with all that is absent or does not fit.
    """
    clips = ave_annotations(found.need("annotations.txt", given=options.list))
    rows, problems, notes = len(clips), [], []
    files = {"audio": found.need("audio_feature.h5"), "video": found.need("visual_feature.h5")}
    for name, file in files.items():
        problems += check_hdf5(file, "avadataset", (rows, STEPS, *SHAPES[name]))[0]
    classes, event = _labels(found, clips, problems, notes)
    splits = [""] * rows
    for split in ("train", "val", "test"):
        for row in order(found.need(f"{split}_order.h5"), rows):
            if splits[row]:
                problems.append(f"{split}_order.h5: row {row} is in {splits[row]} too")
            splits[row] = split
    SourceError.check("these files do not fit each other:", problems)
    _repeated(clips, splits, notes)
    chosen = list(range(rows))
    if shared:
        into = {ave: avvp for avvp, names in SHARED.items() for ave in names}
        chosen = [row for row in chosen if clips[row].category in into]
        event = np.stack([event[..., [c in SHARED[name] for c in classes]].any(-1) for name in SHARED], axis=-1)
        classes, categories = list(SHARED), [into[clips[row].category] for row in chosen]
    else:
        categories = [clip.category for clip in clips]
    seen: Counter[str] = Counter()
    ids = []
    for clip in clips:
        seen[clip.video_id] += 1
        ids.append(clip.video_id + (f"#{seen[clip.video_id]}" if seen[clip.video_id] > 1 else ""))
    result = Plan(
        [ids[row] for row in chosen],
        [splits[row] for row in chosen],
        categories,
        {name: whole(file, name, chosen) for name, file in files.items()},
        labels={"event": event[chosen], "category": np.array([classes.index(c) for c in categories])},
        classes={"event": classes, "category": classes},
        notes=notes,
        expected=0 if shared else 4143,
    )
    text = sentences(found, options.text, [(c,) for c in categories], classes, result.faults)
    if text:
        result.streams["text"], result.media["text"] = text
    return result


def _labels(found: Found, clips: list[AveClip], problems: list[str], notes: list[str]) -> tuple[list[str], np.ndarray]:
    """Return class names and events; columns of ``labels.h5`` are named by the clips that have them."""
    names = list(dict.fromkeys(clip.category for clip in clips))
    event = np.zeros((len(clips), STEPS, len(names)), bool)
    for row, clip in enumerate(clips):
        event[row, clip.onset : clip.offset, names.index(clip.category)] = True
    file = found.one("labels.h5")
    if file is None:
        notes.append("no labels.h5: events are taken from Annotations.txt")
        return names, event
    wrong, _ = check_hdf5(file, "avadataset", (len(clips), STEPS, len(names) + 1))
    problems += wrong
    if wrong:
        return names, event
    import h5py

    with h5py.File(file, "r") as held:
        given = held["avadataset"][..., :-1] > 0.5  # the last column is background
    shown, column = given.any((1, 2)), given.any(1).argmax(-1)
    meanings: dict[int, set[str]] = {}
    for row in np.flatnonzero(shown):
        meanings.setdefault(int(column[row]), set()).add(clips[row].category)
    sole = {next(iter(meaning)): column for column, meaning in meanings.items() if len(meaning) == 1}
    if len(sole) < len(meanings):
        mixed = next(meaning for meaning in meanings.values() if len(meaning) > 1)
        problems.append(
            f"{file}: a column marks clips of {few(sorted(mixed))}; its rows are not those of Annotations.txt"
        )
        return names, event
    free = [c for c in range(len(names)) if c not in sole.values()]
    place = [sole[name] if name in sole else free.pop(0) for name in names]
    given = given[..., place]
    if different := int((given != event).any((1, 2)).sum()):
        notes.append(f"labels.h5 and Annotations.txt differ in {different:,} of {len(clips):,} clips; labels.h5 counts")
    return names, given


def _repeated(clips: list[AveClip], splits: list[str], notes: list[str]) -> None:
    where: dict[str, set[str]] = {}
    for clip, split in zip(clips, splits, strict=True):
        where.setdefault(clip.video_id, set()).add(split)
    across = [video for video, names in where.items() if len(names - {""}) > 1]
    if len(where) < len(clips):
        notes.append(
            f"{len(clips) - len(where)} rows name a video again, for another event in it; "
            f"{len(across)} videos are in more than one split: {few(across) or 'none'}"
        )


def avvp_plan(found: Found, options: Options, shared: bool = False) -> Plan:
    """Return what AVVP's lists say; with ``shared`` of the clips and classes that AVE has too.

    Validation and test clips have events by the second, heard (``event_audio``) and seen (``event_video``);
    ``event`` is either. Training clips have names without times, which count for all ten seconds of all three:
    the label ``supervision`` tells the two kinds apart.

    Raises:
        SourceError: a list is absent or does not fit.
    """
    if options.list or options.text:
        raise SourceError("AVVP comes in five lists and without sentences: leave out --list and --text")
    weak, notes, splits = {}, [], {}
    for split, pattern in (("train", "avvp_train"), ("val", "avvp_val_pd"), ("test", "avvp_test_pd")):
        file = (found.one if split == "train" else found.need)(f"{pattern}.csv", f"{pattern}*.csv")
        if file is None:
            notes.append("no AVVP_train.csv: the store has validation and test clips alone")
            continue
        listed, remarks = avvp_events(file)
        notes += remarks
        if both := [clip for clip in listed if clip in weak]:
            raise SourceError(f"{file}: {len(both)} clips are in another list too: {few(both)}")
        weak |= listed
        splits |= dict.fromkeys(listed, split)
    timed: dict[str, dict[str, Events]] = {}
    for name, pattern in (("audio", "avvp_eval_audio"), ("video", "avvp_eval_visual")):
        file = found.need(f"{pattern}.csv", f"{pattern}*.csv")
        timed[name], remarks = avvp_events(file)
        notes += remarks
        if strays := [clip for clip in timed[name] if splits.get(clip, "train") == "train"]:
            notes.append(
                f"{file.name}: {len(strays)} clips are neither validation nor test clips and left out: {few(strays)}"
            )
    everything = [*weak.values(), *timed["audio"].values(), *timed["video"].values()]
    strangers = sorted({name for events in everything for name in events.names} - set(CLASSES))
    if strangers:
        raise SourceError(f"the lists name events {few(strangers)}, which are none of AVVP's {len(CLASSES)}")
    classes = tuple(SHARED) if shared else CLASSES
    events = {
        clip: {m: weak[clip] if splits[clip] == "train" else timed[m].get(clip, Events(())) for m in timed}
        for clip in weak
    }
    ids = list(events)
    if shared:
        ids = [c for c in ids if any(set(e.names) & set(classes) for e in (weak[c], *events[c].values()))]
    labels = {f"event_{m}": np.stack([event_seconds(events[clip][m], classes, STEPS) for clip in ids]) for m in timed}
    if silent := [c for c in ids if splits[c] != "train" and not any(events[c][m].names for m in timed)]:
        notes.append(
            f"{len(silent)} evaluation clips have no event by the second and count as unlabelled: {few(silent)}"
        )
    unknown = np.isin(ids, silent)
    keys = [(clip, clip[:11]) for clip in ids]  # archives have the name of the video
    streams, extra = {}, {}
    for m in timed:
        streams[m], extra[m] = archived(found, m, keys, 2)
    return Plan(
        ids,
        [splits[clip] for clip in ids],
        [next((name for name in weak[clip].names if name in classes), "") for clip in ids],
        streams,
        labels={
            **{
                name: np.ma.array(values, mask=np.broadcast_to(unknown[:, None, None], values.shape))
                for name, values in {"event": labels["event_audio"] | labels["event_video"], **labels}.items()
            },
            "supervision": np.array([int(splits[clip] != "train") for clip in ids]),
        },
        classes={
            **dict.fromkeys(("event", "event_audio", "event_video"), classes),
            "supervision": ("the whole clip", "each second"),
        },
        visible_in={f"event_{m}": (m,) for m in timed},
        notes=notes,
        extra=extra,
    )


LAYOUTS = {
    "ave": ave_plan,
    "ave12": partial(ave_plan, shared=True),
    "avvp": avvp_plan,
    "avvp12": partial(avvp_plan, shared=True),
}
