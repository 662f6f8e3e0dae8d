"""How long the views of a run compute for one click: medians in milliseconds of processor time.

    python benchmarks/views.py runs/RUN

Aim: below 200 ms each on two cores, so that an answer feels immediate.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from pathlib import Path


def median(action: Callable, values: Iterable) -> float:
    """Median milliseconds of processor time of ``action`` on each of ``values``, after a first call."""
    spent = []
    for value in values:
        start = time.process_time()
        action(value)
        spent.append(1000 * (time.process_time() - start))
    spent = sorted(spent[1:])
    return spent[len(spent) // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    path = parser.parse_args().run

    from srcid.codebook.browser.clips import ClipCodes
    from srcid.codebook.browser.explorer import CodeExplorer
    from srcid.codebook.browser.usage import UsageBrowser
    from srcid.codes import CodeTable
    from srcid.evaluation.browser import CodeTurner, RetrievalGallery
    from srcid.evaluation.probes import fit_probes
    from srcid.evaluation.retrieval import code_retrieval
    from srcid.features import FeatureStore
    from srcid.params import EvaluationParams

    table = CodeTable.open(path / "codes")
    explorer, clips, usage = CodeExplorer(table, clips="test"), ClipCodes({"run": table}), UsageBrowser(table)
    probes = fit_probes(table, EvaluationParams(probe_seeds=1, probe_epochs=1), representations=("all",))
    turner = CodeTurner(table, probes)
    gallery = RetrievalGallery(code_retrieval(table), table, FeatureStore.open(table.store_path, verify=False))
    codes = [int(code) for code in explorer.index.used(1)[:20]]
    names = [name for _, name in explorer.index.classes][:8]
    found = {
        "explorer, another code": median(lambda code: explorer.select(1, code), codes),
        "explorer, a search": median(lambda name: setattr(explorer.search, "value", name), names or ["0", "1", "2"]),
        "clips, another clip": median(lambda clip: setattr(clips.slider, "value", clip), range(1, 12)),
        "map of codes, another code": median(lambda place: setattr(usage.slider, "value", place), range(1, 12)),
        "turn, another code": median(lambda code: setattr(turner.code, "value", code), codes),
        "gallery, another direction": median(
            lambda way: setattr(gallery.direction, "value", way), [way for _, way in gallery.direction.options]
        ),
    }
    for name, spent in found.items():
        print(f"{name:28s} {spent:6.0f} ms")


if __name__ == "__main__":
    main()
