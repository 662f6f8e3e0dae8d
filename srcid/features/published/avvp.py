"""AVVP (LLP): several events a clip, heard and seen apart in the evaluation clips; one archive a clip and modality."""

from __future__ import annotations

from functools import partial

import numpy as np

from srcid.features.published.archives import Found, SourceError
from srcid.features.published.lists import Events, avvp_events, event_seconds
from srcid.features.published.plan import STEPS, Plan, archived, shorten
from srcid.features.published.splits import Options

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


def plan(found: Found, options: Options, shared: bool = False) -> Plan:
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
            raise SourceError(f"{file}: {len(both)} clips are in another list too: {shorten(both)}")
        weak |= listed
        splits |= dict.fromkeys(listed, split)
    timed: dict[str, dict[str, Events]] = {}
    for name, pattern in (("audio", "avvp_eval_audio"), ("video", "avvp_eval_visual")):
        file = found.need(f"{pattern}.csv", f"{pattern}*.csv")
        timed[name], remarks = avvp_events(file)
        notes += remarks
        if strays := [clip for clip in timed[name] if splits.get(clip, "train") == "train"]:
            notes.append(
                f"{file.name}: {len(strays)} clips are neither validation nor test clips and left out: "
                f"{shorten(strays)}"
            )
    everything = [*weak.values(), *timed["audio"].values(), *timed["video"].values()]
    strangers = sorted({name for events in everything for name in events.names} - set(CLASSES))
    if strangers:
        raise SourceError(f"the lists name events {shorten(strangers)}, which are none of AVVP's {len(CLASSES)}")
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
        notes.append(f"{len(silent)} evaluation clips have no event by the second: {shorten(silent)}")
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
            "event": labels["event_audio"] | labels["event_video"],
            **labels,
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


LAYOUTS = {"avvp": plan, "avvp12": partial(plan, shared=True)}
