"""What inspection costs at size: time and peak memory of each question, at a tenth, a third and all of the clips.

    python benchmarks/scale.py [--clips 200000] [--folder DIR]

A table of random codes (3 modalities x 2 layers x 10 steps, 400 codes, 28 classes of events) is written clip block by
clip block; each question is asked in a process of its own, timed after its imports, and its peak memory is that of the
whole process. Aims at 200,000 clips (12 million codes): below 10 s and 2 GB each.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

MODALITIES, LAYERS, STEPS, SIZE, CLASSES = ("first", "second", "third"), 2, 10, 400, 28


def make_table(folder, clips, block=20_000, seed=0):
    """Write a CodeTable: a third of the steps agree between modalities, use is uneven, codes go with classes."""
    from numpy.lib.format import open_memmap

    from srcid.codes import FORMAT, VERSION, CodeTable

    draw = np.random.default_rng(seed)
    event = open_memmap(folder / "label_event.npy", "w+", bool, (clips, STEPS, CLASSES))
    files = {}
    for layer in range(1, LAYERS + 1):
        np.save(folder / f"codebook_{layer}.npy", draw.normal(size=(1, SIZE, 8)).astype(np.float32))
        for m in MODALITIES:
            for kind, dtype, last in (("codes", np.int32, (1,)), ("second", np.int32, ()), ("distance", np.float32, ()),
                                      ("nearest", np.float32, (2,))):  # fmt: skip
                files[kind, layer, m] = open_memmap(
                    folder / f"{kind}_{layer}_{m}.npy", "w+", dtype, (clips, STEPS, *last)
                )
    use = {key: draw.dirichlet(np.full(SIZE, 0.7)).cumsum() for key in [*MODALITIES, "shared"]}
    for start in range(0, clips, block):
        rows = slice(start, min(start + block, clips))
        shape = (rows.stop - start, STEPS)
        for layer in range(1, LAYERS + 1):
            shared = np.searchsorted(use["shared"], draw.random(shape) * 0.999999)
            for m in MODALITIES:
                own = np.searchsorted(use[m], draw.random(shape) * 0.999999)
                codes = np.where(draw.random(shape) < 1 / 3, shared, own).clip(0, SIZE - 1)
                gap = draw.random((*shape, 2), dtype=np.float32).cumsum(-1)
                files["codes", layer, m][rows] = codes[..., None]
                files["second", layer, m][rows] = (codes + 1) % SIZE
                files["distance", layer, m][rows], files["nearest", layer, m][rows] = gap[..., 0], gap
        event[rows] = (shared % CLASSES)[..., None] == np.arange(CLASSES)
        event[rows] &= draw.random(shape)[..., None] < 0.5
    np.save(folder / "ids.npy", np.char.add("clip-", np.arange(clips).astype(str)))
    for m in MODALITIES:
        np.save(folder / f"mask_{m}.npy", np.ones((clips, STEPS), bool))
    about = dict(name="event", kind="multilabel", level="step", classes=[str(c) for c in range(CLASSES)],
                 visible_in=list(MODALITIES))  # fmt: skip
    manifest = dict(
        format=FORMAT, version=VERSION, modalities=MODALITIES, layers=LAYERS, stages=1, sizes=[SIZE], clips=clips,
        steps=STEPS, splits=[], labels={"event": about}, media=[], params={}, store=dict(path="", checksum=""),
    )  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return CodeTable.open(folder)


def ask(question, table):
    """Answer one question of all layers; the explorer's is a card of each layer and a search."""
    from srcid.codebook.agreement import code_agreement
    from srcid.codebook.exemplars import CodeIndex
    from srcid.codebook.meaning import association
    from srcid.codebook.usage import code_usage, sharing

    layers = range(1, table.layers + 1)
    if question == "usage":
        return [(code_usage(table, k), sharing(table, k)) for k in layers]
    if question == "agreement":
        return [code_agreement(table, k) for k in layers]
    if question == "meaning":
        return [association(table, "event", k) for k in layers]
    index = CodeIndex(table)
    return [index.look_up(k, int(index.used(k)[0])) for k in layers], index.search(1, "7"), index.search(1, "event: 7")


def child(question, folder):
    """Time one question after the imports; print seconds (wall, processor) and MB."""
    import scipy.sparse
    import scipy.spatial.distance
    import scipy.stats  # noqa: F401

    from srcid.codes import CodeTable

    begun, spent = time.perf_counter(), time.process_time()
    ask(question, CodeTable.open(folder))
    seconds = time.perf_counter() - begun, time.process_time() - spent
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([*seconds, peak]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=200_000, help="clips of the largest table")
    parser.add_argument("--folder", type=Path, help="where tables are written; a temporary folder by default")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(*args.child)
        return
    print(f"load at the start {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"{'clips':>9} {'':10}{'wall s':>9}{'cpu s':>9}{'peak MB':>9}")
    for share in (10, 3, 1):
        clips = args.clips // share
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            make_table(Path(folder), clips)
            for question in ("usage", "agreement", "meaning", "explorer"):
                done = subprocess.run([sys.executable, __file__, "--child", question, folder], capture_output=True,
                                      text=True, check=True)  # fmt: skip
                wall, spent, peak = json.loads(done.stdout.splitlines()[-1])
                print(f"{clips:9,} {question:10}{wall:9.2f}{spent:9.2f}{peak:9.0f}", flush=True)
    print(f"load at the end {os.getloadavg()[0]:.1f}; aims: 10 s, 2,000 MB")


if __name__ == "__main__":
    main()
