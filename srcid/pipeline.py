"""The main job as one function: data, training, codes and scores, without a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from srcid.codes import CodeTable
    from srcid.evaluation.results import ProbeResults
    from srcid.features import FeatureStore
    from srcid.model.network import SRCID
    from srcid.runs import Run

# parameters of 02_train, with which a run by hand, by command line or by this function is the same run
PARAMETERS = {
    "data": (str, "digits"), "fsdd": (str, ""), "preset": (str, "demo"), "seed": (int, 0), "row": (int, -1),
    "generator": (dict, {}), "options": (dict, {}),
}  # fmt: skip


def run(
    data: str | Path | FeatureStore = "digits",
    preset: str = "demo",
    name: str | None = None,
    seed: int = 0,
    generator: Mapping[str, Any] | None = None,
    **options: Any,
) -> Run:
    """Train on ``data``, encode every clip, score the codes, and return the run: all that ``02_train`` does.

    Prints progress. A run that has finished is returned at once; one that was stopped or killed goes on. Every notebook
    can look into it.

    Args:
        data: ``digits``, ``synthetic``, the folder of a store, or the store.
        preset: names of :data:`srcid.params.PRESETS` joined by ``+``.
        name: name of the run folder below :func:`srcid.runs.root`; by default that of the same run of ``02_train``.
        seed: seed of weights, order and sampling.
        generator: options of the data set by name.
        options: any other parameter of ``02_train``, or field of :class:`srcid.params.Params`.

    Returns:
        The run; its status is ``interrupted`` if training was stopped (Ctrl-C) before its end.

    Raises:
        ParameterError: parameters or data that cannot be used, all at once; nothing has been written then.
        RunError: a folder that belongs to another run, or one in which another process works.
        TrainingError: training diverged, or nothing can be learned.
        DiskError: the disk is full or cannot be written.
    """
    from srcid.features import FeatureStore
    from srcid.params import Params
    from srcid.runs import open_store
    from srcid.runs.overview import TRAINING
    from srcid.runs.requests import claimed, note_store, request

    given = data if isinstance(data, FeatureStore) else None
    word = str(given.path.absolute() if given else data)
    values = dict(data=word, preset=preset, seed=seed, generator=dict(generator or {}), **options)
    asked = request(TRAINING, values, name, PARAMETERS)
    if done := asked.finished():
        return done
    made = asked.open()
    with claimed(made):
        made.mark("running")
        try:
            store = given or open_store(*(asked.values[name] for name in ("data", "generator", "fsdd")))
            note_store(made, store)
            status = _train(made, store, Params(**asked.params), asked.values["row"])
        except BaseException as error:
            stopped = isinstance(error, KeyboardInterrupt)
            made.mark("interrupted" if stopped else "failed", error=f"{type(error).__name__}: {error}")
            raise
        made.finish(status)
    return made


def _train(made: Run, store: FeatureStore, params: Any, row: int) -> str:
    """Do the work and return how training ended."""
    from srcid.codebook.figures.strips import code_strip
    from srcid.codebook.figures.usage import usage_summary
    from srcid.codebook.usage import code_usage
    from srcid.codes import encode
    from srcid.evaluation.figures.scores import score_figure
    from srcid.evaluation.probes import fit_probes
    from srcid.symbols import for_each
    from srcid.training.live import LiveTraining
    from srcid.training.loop import load, train

    caption = f"{made.name}: B = {params.batch_size}, D = {params.dim}, L = {params.codebook_size}."
    live = LiveTraining(train, store, params, made.folder, caption=caption, live=False)
    result = live.wait()
    if result.status == "finished":
        model = load(made.folder, params.device)
        table = encode(model, store, made.codes)
        probes = fit_probes(table, params, progress=lambda stack: print(stack, flush=True))
        made.save_figure(live.figure(), "curves")
        made.save_figure(code_strip(table, row if row >= 0 else int(store.splits["test"][0])), "code_strip")
        use = for_each(code_usage, table, [dict(layer=k) for k in range(1, table.layers + 1)])
        made.save_figure(usage_summary(*use), "usage")
        made.save_figure(score_figure(probes.frame(), table.modalities, probes.notes), "scores")
        write_scores(made, model, live.metrics, table, probes)
    return result.status


def write_scores(
    made: Run, model: SRCID, metrics: Iterable[Mapping[str, Any]], table: CodeTable, probes: ProbeResults
) -> None:
    """Keep in a run what comparisons of runs read.

    ``probes.json`` has a row a direction, ``scores.json`` their means across modalities and within one, ``cost.json``
    what the model costs, the bits of its codes, and the last reconstruction errors on validation clips.
    """
    from srcid.codebook.usage import code_usage
    from srcid.symbols import for_each
    from srcid.training.loop import cost

    summary, metrics = probes.frame(), list(metrics)
    use = for_each(code_usage, table, [dict(layer=k) for k in range(1, table.layers + 1)]).results
    spent = cost(model, metrics) | {"bits": sum(found.nominal_bits for found in use)}
    spent |= {f"bits/{r.layer}/{r.modality}": round(r.bits, 3) for found in use for r in found.frame().itertuples()}
    validated = [line for line in metrics if any(key.startswith("val/recon") for key in line)][-1:]
    spent |= {key: value for line in validated for key, value in line.items() if key.startswith("val/")}
    means = summary.groupby(["task", "same", "representation"], sort=False)["score"].mean()
    scores = {
        f"{task}/{'within' if same else 'across'}/{name}": round(float(score), 3)
        for (task, same, name), score in means.items()
    }
    made.write("probes.json", {"directions": summary.to_dict("records")})
    made.write("cost.json", spent)
    made.write("scores.json", scores)
