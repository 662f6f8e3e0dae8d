"""The command line: ``python -m srcid`` (or ``srcid``). Everything it does is a call of the package."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from srcid import runs

MAIN_JOB = ("01_data", "02_train")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status: 0 done, 1 a notebook failed, 2 a mistake in the request."""
    options = _parser().parse_args(arguments)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # may save first
    try:
        return options.command(options)
    except ValueError as error:  # parameters, runs, stores: the message says what to do
        print(f"srcid: {error}", file=sys.stderr)
        return 2
    except runs.RunFailed as error:
        print(f"srcid: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nsrcid: stopped; the same command continues where it stopped", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="srcid", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    job = commands.add_parser("lab", help="the main job: data, training, codes, scores, and one HTML report")
    job.add_argument("values", nargs="*", metavar="name=value", help="parameters of the notebooks")
    job.set_defaults(command=_lab)

    run = commands.add_parser("run", help="execute one notebook into a run folder")
    run.add_argument("notebook", metavar="NOTEBOOK", help="e.g. 02_train, or the path of a notebook")
    run.add_argument("values", nargs="*", metavar="name=value", help="parameters of the notebook")
    run.add_argument("--name", help="name of the run folder (default: made of notebook, parameters and identity)")
    run.set_defaults(command=_run)

    table = commands.add_parser("runs", help="table of runs")
    table.add_argument("notebook", nargs="?", metavar="NOTEBOOK", help="only runs of this one")
    table.add_argument("--sort", metavar="COLUMN", help="order by this column (default: start)")
    table.set_defaults(command=_runs)

    report = commands.add_parser("report", help="one HTML file, readable offline, of runs or executed notebooks")
    report.add_argument("sources", nargs="+", metavar="RUN", help="run folders, their names, or executed notebooks")
    report.add_argument("--to", type=Path, default=Path("report.html"), metavar="FILE")
    report.add_argument("--title", default="SRCID")
    report.set_defaults(command=_report)

    figure = commands.add_parser("figure", help="draw a figure that a run has kept: .png, .svg, .pdf or .html")
    figure.add_argument("run", metavar="RUN", help="run folder, or its name")
    figure.add_argument("name", metavar="FIGURE", help="e.g. scores")
    figure.add_argument("file", type=Path, metavar="FILE")
    figure.set_defaults(command=_figure)

    freeze = commands.add_parser("freeze", help="execute notebooks by default parameters and keep text and pictures")
    freeze.add_argument("notebooks", nargs="+", metavar="NOTEBOOK")
    freeze.set_defaults(command=_freeze)
    return parser


def _lab(options: argparse.Namespace) -> int:
    from srcid.report import html_report

    begun = time.monotonic()
    checked = runs.check_job(MAIN_JOB, _values(options.values))
    done = []
    for notebook, own in zip(MAIN_JOB, checked, strict=True):
        print(f"\n== {notebook}", flush=True)
        done.append(runs.execute(notebook, own))
    target = html_report([run.notebook for run in done], runs.root() / f"report-{done[-1].name}.html", title="SRCID")
    minutes, seconds = divmod(round(time.monotonic() - begun), 60)
    print(f"\n== done in {minutes} min {seconds} s")
    for label, run in zip(MAIN_JOB, done, strict=True):
        print(f"{label:10s} {_short(run.folder)}  (executed notebook: {run.notebook.name})")
    print(f"{'report':10s} {_short(target)}  (one file, opens offline)")
    return 0


def _run(options: argparse.Namespace) -> int:
    run = runs.execute(options.notebook, _values(options.values), run_name=options.name)
    print(f"run folder: {_short(run.folder)}  (executed notebook: {run.notebook.name})")
    return 0


def _runs(options: argparse.Namespace) -> int:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", runs.RunWarning)
        table = runs.table(options.notebook)
    if options.sort and options.sort not in table:
        raise ValueError(f"there is no column '{options.sort}'; there are {', '.join(table)}")
    if options.sort:
        table = table.sort_values(options.sort, kind="stable")
    print(table.to_string(index=False, na_rep="") if len(table) else f"no runs in {runs.root()}")
    for name, reason in table.attrs["skipped"].items():
        print(f"left out {name}: {reason}", file=sys.stderr)
    return 0


def _report(options: argparse.Namespace) -> int:
    from srcid.report import html_report

    notebooks = [_executed(source) for source in options.sources]
    print(_short(html_report(notebooks, options.to, title=options.title)))
    return 0


def _figure(options: argparse.Namespace) -> int:
    from srcid.report import draw

    print(_short(draw(runs.Run.open(options.run).load_figure(options.name), options.file)))
    return 0


def _executed(source: str) -> Path:
    """Path of an executed notebook, named itself or as the run that keeps it."""
    if source.endswith(".ipynb"):
        return Path(source)
    run = runs.Run.open(source)
    if not run.notebook.is_file():
        raise runs.RunError(
            f"{run.folder} ({run.status['status']}) has no executed notebook: runs begun by `srcid run` or ./lab keep "
            "theirs; for one that was run by hand name the .ipynb itself"
        )
    return run.notebook


def _freeze(options: argparse.Namespace) -> int:
    from jupytext.cli import jupytext

    from srcid.report import freeze

    paths = [runs.find_notebook(notebook) for notebook in options.notebooks]
    for path in paths:
        twin = path.with_suffix(".py")
        if twin.exists() and twin.stat().st_mtime > path.stat().st_mtime:  # edits made there must not be lost
            jupytext(["--quiet", "--update", "--to", "ipynb", "--output", str(path), str(twin)])
        run = runs.execute(path)
        size = freeze(run.notebook, path)
        print(f"{_short(path)}: {size / 1e3:.0f} kB")
    return 0


def _values(words: Sequence[str]) -> dict[str, str]:
    """Return ``name=value`` words as a dict; the notebook's declared types convert the values."""
    wrong = [word for word in words if not word.partition("=")[0].isidentifier() or "=" not in word]
    if wrong:
        raise ValueError(f"found {', '.join(map(repr, wrong))}; need name=value, e.g. data=digits seed=1")
    pairs = [word.split("=", 1) for word in words]
    twice = {name for name, _ in pairs if sum(name == other for other, _ in pairs) > 1}
    if twice:
        raise ValueError(f"{', '.join(sorted(twice))} given more than once")
    return dict(pairs)


def _short(path: Path) -> str:
    """Path as seen from here, where that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)


if __name__ == "__main__":
    sys.exit(main())
