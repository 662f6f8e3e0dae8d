"""What inspection costs: usage and agreement of a large CodeTable, and maps in fresh processes.

    python benchmarks/inspection.py [--clips 40000] [--points 20000] [--width 256] [--only usage,umap,tsne,both,open]

Usage and agreement are timed after import, on one process. Every map is made in a process of its own, timed
from its start to its end with imports, neighbour search and just-in-time compilation inside, and judged
here by the same measures for all:

    ours     srcid.maps.projection.project: exact neighbours found once, umap-learn and openTSNE fed with them
    plain    umap.UMAP as it comes, with a seed; sklearn.manifold.TSNE as it comes
    both     ours, t-SNE and UMAP in one process, which share the neighbours

Ratios compare within this run; the machine's load is printed beside them. "open" runs every notebook that looks into a
run twice, on the newest finished one, and tells how long its cells take until the first figure is there.

A third of scikit-learn's time was not to be had at equal neighbours kept. 20,000 x 256 points, one thread, processor
time and share of the 10 nearest neighbours kept:

    scikit-learn                                                                    167 s   0.420
    openTSNE, its own schedule of 250 + 500 steps, after 7 s for exact neighbours    50 s   0.403
    250 + 300 steps                                                                  25 s   0.380
    forces interpolated on boxes of 2, with 4 or 5 nodes each                     26, 36 s  0.368, 0.388
    boxes of 3 for 250 + 250 steps, then of 1 for 100                                19 s   0.362
    250 + 200 steps; neighbours among 50 principal components instead           15, 16 s    0.350, 0.285

What is quicker keeps less, so the full schedule stays; threads shorten the wait at equal bits.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

OPENED = ("index", "tutorial", "01_data", "02_train", "04_codebook", "05_projection", "06_club", "07_generalization")
AIMS = {"umap": 1 / 2, "tsne": 1 / 3}


def make_table(folder, clips, steps=10, layers=2, modalities=("first", "second", "third"), size=400, seed=0):
    """Write a CodeTable of random codes: a third of the steps agree between modalities, usage is uneven."""
    from srcid.codes import FORMAT, VERSION, CodeTable

    draw = np.random.default_rng(seed)
    np.save(folder / "label_event.npy", draw.random((clips, steps, 28)) < 0.02)
    for layer in range(1, layers + 1):
        shared = draw.choice(size, (clips, steps), p=draw.dirichlet(np.full(size, 0.7)))
        for m in modalities:
            own = draw.choice(size, (clips, steps), p=draw.dirichlet(np.full(size, 0.7)))
            codes = np.where(draw.random((clips, steps)) < 1 / 3, shared, own).astype(np.int32)
            np.save(folder / f"codes_{layer}_{m}.npy", codes[..., None])
            np.save(folder / f"codebook_{layer}.npy", np.zeros((1, size, 8), np.float32))
    event = dict(name="event", kind="multilabel", level="step", classes=[str(c) for c in range(28)],
                 visible_in=list(modalities))  # fmt: skip
    manifest = dict(
        format=FORMAT, version=VERSION, modalities=modalities, layers=layers, stages=1, sizes=[size],
        clips=clips, steps=steps, splits=[], labels={"event": event}, media=[], params={},
        store=dict(path="", checksum=""),
    )  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return CodeTable.open(folder)


def time_usage(clips):
    """Seconds (wall, processor) for usage, sharing and agreement of all layers, with reading the table."""
    import scipy.sparse
    import scipy.spatial.distance
    import scipy.special  # noqa: F401

    from srcid.codebook.agreement import code_agreement
    from srcid.codebook.usage import code_usage, sharing

    with tempfile.TemporaryDirectory() as folder:
        table = make_table(Path(folder), clips)
        wall, processor = time.perf_counter(), time.process_time()
        for layer in range(1, table.layers + 1):
            code_usage(table, layer)
            sharing(table, layer)
            code_agreement(table, layer)
        return time.perf_counter() - wall, time.process_time() - processor


def make_points(n, width, clusters=400, seed=0):
    """Features about as hard as trained ones: overlapping clusters in some thirty dimensions, and noise."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(clusters, 30)) @ draw.normal(size=(30, width)) / np.sqrt(30)
    features = centres[draw.integers(clusters, size=n)] + 0.6 * draw.normal(size=(n, width))
    return features.astype(np.float32)


def make_map(how, features, folder):
    """Run in a process of its own: make one map (or two) and save the coordinates."""
    import warnings

    warnings.simplefilter("ignore")
    if how == "plain umap":
        import umap

        maps = {"umap": umap.UMAP(random_state=0, n_jobs=1).fit_transform(features)}
    elif how == "plain tsne":
        from sklearn.manifold import TSNE

        maps = {"tsne": TSNE(random_state=0).fit_transform(features)}
    else:
        from srcid.maps.graph import neighbour_graph
        from srcid.maps.projection import project

        methods = ("tsne", "umap") if how == "ours both" else (how.split()[1],)
        graph = neighbour_graph(features) if how == "ours both" else None
        maps = {method: project(features, method, graph=graph).coordinates for method in methods}
    np.savez(Path(folder) / f"{how}.npz", **maps)


def time_map(how, folder):
    """Seconds (wall, processor of the child) from the start of the process to its end."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, __file__, "--child", how, "--folder", folder], check=True)
    wall, after = time.perf_counter() - start, os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, spent, dict(np.load(Path(folder) / f"{how}.npz"))


def time_opening(notebook):
    """Seconds that a notebook's cells take until the first figure: (anew, a second time)."""
    import io

    import nbformat

    from srcid import runs

    found = []
    for _ in range(2):
        run = runs.execute(notebook, stream=io.StringIO())
        seconds = 0.0
        for cell in nbformat.read(run.notebook, as_version=4).cells:
            seconds += cell.metadata.papermill.get("duration") or 0.0 if cell.cell_type == "code" else 0.0
            if any({"application/vnd.plotly.v1+json", "image/png"} & {*o.get("data", {})}
                   or "<img" in str(o.get("data", {}).get("text/html")) for o in cell.get("outputs", [])):  # fmt: skip
                break
        found.append(seconds)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=40_000, help="clips of the CodeTable")
    parser.add_argument("--points", type=int, default=20_000, help="points of the maps")
    parser.add_argument("--width", type=int, default=256, help="width of the features")
    parser.add_argument("--only", default="usage,umap,tsne", help="comma-separated: usage, umap, tsne, both, open")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        make_map(args.child, np.load(Path(args.folder) / "features.npy"), args.folder)
        return
    wanted = args.only.split(",")
    print(f"load at the start {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if "usage" in wanted:
        wall, processor = time_usage(args.clips)
        print(f"usage and agreement, {args.clips:,} clips x 3 modalities x 2 layers x 10 steps: "
              f"{wall:.2f} s ({processor:.2f} s of processor time; aim: under 2 s)", flush=True)  # fmt: skip
    for notebook in OPENED if "open" in wanted else ():
        anew, again = time_opening(notebook)
        print(f"{notebook}, first cell to first figure: {anew:.1f} s anew, {again:.1f} s the second time "
              "(aim: under 3 s)", flush=True)  # fmt: skip
    runs = {m: (f"plain {m}", f"ours {m}") for m in ("umap", "tsne") if m in wanted}
    if "both" in wanted:
        runs["both"] = ("ours both",)
    if not runs:
        return
    from srcid.maps.graph import neighbour_graph, quality_of

    with tempfile.TemporaryDirectory() as folder:
        features = make_points(args.points, args.width)
        np.save(Path(folder) / "features.npy", features)
        graph = neighbour_graph(features, 10)
        print(f"\n{args.points:,} x {args.width}, fresh processes\n"
              f"{'':12}{'wall s':>9}{'cpu s':>9}{'ratio':>9}   trustworthiness, neighbours kept")  # fmt: skip
        for method, ways in runs.items():
            first = None
            for how in ways:
                wall, spent, maps = time_map(how, folder)
                first = first or wall
                judged = ((name, quality_of(features, found, None, graph)) for name, found in maps.items())
                told = "; ".join(f"{n}: {q.trustworthiness:.3f}, {q.preservation.value:.3f}" for n, q in judged)
                print(f"{how:12}{wall:9.1f}{spent:9.1f}{wall / first:9.2f}   {told}", flush=True)
            if method in AIMS:
                print(f"{'':12}aim: a ratio of {AIMS[method]:.2f} or less at 20,000 points")
    print(f"load at the end {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
