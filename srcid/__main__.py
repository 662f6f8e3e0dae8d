"""The command line: ``python -m srcid`` (or ``srcid``). Everything it does is a call of the package."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from srcid import runs
from srcid.features.front_ends import PRETRAINED
from srcid.files import FULL, REFUSED, DiskError
from srcid.runs.grid import MOST
from srcid.values import Word, shorten

MAIN_JOB = ("01_data", "02_train")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status: 0 done, 1 it failed, 2 a mistake in the request."""
    options = _read(arguments)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # may save first
    try:
        return options.command(options)
    except ValueError as error:  # parameters, runs, stores: the message says what to do
        print(f"srcid: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read the output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno not in (*FULL, *REFUSED) and not isinstance(error, DiskError):
            raise
        said = error if isinstance(error, DiskError) else f"{shorten(error.filename, 200)}: {error.strerror}"
        print(f"srcid: {said}", file=sys.stderr)
        return 1 if error.errno in FULL else 2
    except runs.RunFailed as error:
        print(f"srcid: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nsrcid: stopped; the same command continues where it stopped", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


def _read(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; ``name=value`` may also stand behind an option, which argparse by itself refuses."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if options.command is _start:
        options.rest = rest
    elif rest and (not hasattr(options, "values") or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    elif rest:
        options.values = [*options.values, *rest]
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="srcid", description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, does: Callable[[argparse.Namespace], int], said: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=said)
        made.set_defaults(command=does)
        return made

    job = command("lab", _lab, "the main job: data, training, codes, scores, and one HTML report")
    job.add_argument("values", nargs="*", metavar="name=value", help="parameters of the notebooks")

    start = command("start", _start, "JupyterLab on working copies of the notebooks, in notebooks/work/")
    start.add_argument("--anew", action="store_true", help="replace the copies that are there, edits and all")

    run = command("run", _run, "execute one notebook into a run folder")
    run.add_argument("notebook", metavar="NOTEBOOK", help="e.g. 02_train, or the path of a notebook")
    run.add_argument("values", nargs="*", metavar="name=value", help="parameters of the notebook")
    run.add_argument("--name", help="name of the run folder (default: made of notebook, parameters and identity)")

    sweep = command("sweep", _sweep, "execute one notebook with all combinations of several values")
    sweep.add_argument("notebook", metavar="NOTEBOOK", help="e.g. 02_train, or the path of a notebook")
    sweep.add_argument("values", nargs="+", metavar="name=v1,v2", help="e.g. quantizer=vq,rvq2,fsq seed=0..4")
    sweep.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time (default: 1)")
    sweep.add_argument("--scheduler", default="", metavar="ADDRESS", help="of a Dask cluster that does the work")
    sweep.add_argument("--most", type=int, default=MOST, metavar="N", help=f"runs to agree to (default: {MOST:,})")

    table = command("runs", _runs, "table of runs")
    table.add_argument("notebook", nargs="?", metavar="NOTEBOOK", help="only runs of this one")
    table.add_argument("--where", nargs="+", default=[], metavar="name=value", help="e.g. quantizer=vq,rvq2 seed=0..2")
    table.add_argument("--sort", metavar="COLUMN", help="order by this column (default: start)")
    table.add_argument("--columns", metavar="A,B", help="these, by their names in srcid.runs.table() or parameters")
    table.add_argument(
        "--watch", nargs="?", type=float, const=2.0, metavar="SECONDS", help="show it anew until nothing is running"
    )

    convert = command("convert", _convert, "make a feature store of published features (data/README.md)")
    convert.add_argument("layout", metavar="LAYOUT", help="e.g. vggsound-avel40k, ave, avvp; a wrong one lists all")
    convert.add_argument("source", type=Path, metavar="SOURCE", help="folder that holds the published files")
    convert.add_argument("store", type=Path, metavar="STORE", help="folder to make")
    convert.add_argument("--list", type=Path, metavar="FILE", help="list of clips (default: found by its name)")
    convert.add_argument("--text", type=Path, metavar="FILE", help="word vectors of sentences: .npz or .npy")
    convert.add_argument("--dtype", default="float32", metavar="TYPE", help="float32 (default) or float16")
    convert.add_argument("--allow-missing", action="store_true", help="go on without clips that have no features")

    extract = command("extract", _extract, "make a feature store of media: videos, sounds, pictures, sentences")
    extract.add_argument("source", type=Path, metavar="SOURCE", help="folder: media and a .csv, or folders as labels")
    extract.add_argument("store", type=Path, metavar="STORE", help="folder to make")
    extract.add_argument("--list", type=Path, metavar="FILE", help="list of clips (default: the folder's only .csv)")
    extract.add_argument("--steps", type=int, default=10, metavar="N", help="steps of a clip (default: 10)")
    extract.add_argument("--seconds", type=float, default=1.0, metavar="S", help="seconds of a step (default: 1)")
    for modality, published in PRETRAINED.items():
        said = f"front end of {modality}: {published}=WEIGHTS (a file or folder), MODULE:FUNCTION, or none"
        extract.add_argument(f"--{modality}", default="", metavar="FRONT_END", help=said)
    extract.add_argument("--no-media", action="store_true", help="keep no sounds and pictures in the store")
    extract.add_argument("--strict", action="store_true", help="end at the first file that cannot be read")

    report = command("report", _report, "one HTML file, readable offline, of runs or executed notebooks")
    report.add_argument("sources", nargs="+", metavar="RUN", help="run folders, their names, or executed notebooks")
    report.add_argument("--to", type=Path, default=Path("report.html"), metavar="FILE")
    report.add_argument("--title", default="SRCID")

    figure = command("figure", _figure, "draw a figure that a run has kept: .png, .svg, .pdf or .html")
    figure.add_argument("run", metavar="RUN", help="run folder, or its name")
    figure.add_argument("name", metavar="FIGURE", help="e.g. scores")
    figure.add_argument("file", type=Path, metavar="FILE")

    freeze = command("freeze", _freeze, "execute notebooks by default parameters and keep text and pictures")
    freeze.add_argument("notebooks", nargs="+", metavar="NOTEBOOK")
    return parser


def _lab(options: argparse.Namespace) -> int:
    from srcid.runs.report import html_report

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


def _start(options: argparse.Namespace) -> NoReturn:
    """Become JupyterLab; options that are unknown here are its own."""
    folder = runs.home() / "notebooks" / "work"
    for note in runs.working_copies(options.anew):
        print(note, flush=True)
    command = [sys.executable, "-m", "jupyter", "lab", "--LabApp.default_url=/lab/tree/index.ipynb"]
    if sys.platform == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    os.chdir(folder)
    os.execv(sys.executable, [*command, *options.rest])


def _run(options: argparse.Namespace) -> int:
    run = runs.execute(options.notebook, _values(options.values), run_name=options.name)
    print(f"run folder: {_short(run.folder)}  (executed notebook: {run.notebook.name})")
    return 0


def _sweep(options: argparse.Namespace) -> int:
    grid, jobs = _values(options.values), options.jobs
    done = runs.sweep(options.notebook, grid, jobs=jobs, scheduler=options.scheduler, most=options.most)
    for name, error in done.failed.items():
        print(f"\nfailed: {name}\n  {error}", file=sys.stderr)
    print(f"\n{len(done.runs)} of {len(done.grid)} runs finished, in {_short(runs.root())}")
    return 1 if done.failed else 0


def _runs(options: argparse.Namespace) -> int:
    if options.watch is None:
        _show_runs(options)
        return 0
    with contextlib.suppress(KeyboardInterrupt):
        while True:
            sweeps = runs.underway()
            print("\x1b[H\x1b[2J" if sys.stdout.isatty() else "", *sweeps, sep="\n")
            running = _show_runs(options)
            if not (sweeps or running):
                print("nothing is running")
                break
            time.sleep(options.watch)
    return 0


def _show_runs(options: argparse.Namespace) -> int:
    """Print the table; with ``--watch`` its end, as far as there is room, and return how many are running."""
    import warnings

    columns = [name.strip() for name in options.columns.split(",")] if options.columns else []
    named = [*columns, options.sort] if options.sort else columns
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", runs.RunWarning)
        table = runs.table(options.notebook, where=_values(options.where), also=named)
    running = int((table["status"] == "running").sum()) if len(table) else 0
    if len(table):
        table = table.sort_values(options.sort, kind="stable") if options.sort else table
        width, height = shutil.get_terminal_size()
        table = table.tail(max(3, height - 6)) if options.watch else table
        print(table[columns].to_string(index=False, na_rep="") if columns else runs.fitting(table, width))
    else:
        print(f"no {'such ' * bool(options.where)}runs in {runs.root()}")
    for name, reason in table.attrs["skipped"].items():
        print(f"left out {name}: {reason}", file=sys.stderr)
    return running


def _convert(options: argparse.Namespace) -> int:
    from srcid.features.published import convert

    done = convert(
        options.layout,
        options.source,
        options.store,
        clip_list=options.list,
        text=options.text,
        dtype=options.dtype,
        allow_missing=options.allow_missing,
    )
    print(f"{done.audit.text()}\naudit: {', '.join(_short(file) for file in done.audit_files)}")
    if done.store is None:
        print("srcid: no store was made; complete the files, or go on without by --allow-missing", file=sys.stderr)
        return 1
    print(f"store: {_short(options.store)}  ({done.store.clips:,} clips; ./lab run data={_short(options.store)})")
    return 0


def _extract(options: argparse.Namespace) -> int:
    from srcid.features.extraction import extract

    sys.path.insert(0, os.getcwd())  # where the user's own front ends lie
    done = extract(
        options.source,
        options.store,
        clip_list=options.list,
        steps=options.steps,
        seconds=options.seconds,
        front_ends={m: getattr(options, m) for m in PRETRAINED if getattr(options, m)},
        keep_media=not options.no_media,
        strict=options.strict,
    )
    for note in done.notes:
        print(f"note: {note}", file=sys.stderr)
    if done.left_out:
        print(f"left out {len(done.left_out):,} clips that cannot be read:", file=sys.stderr)
        print("\n".join(f"  {name}: {why}" for name, why in done.left_out.items()), file=sys.stderr)
    print(f"store: {_short(options.store)}  ({done.store.clips:,} clips; ./lab run data={_short(options.store)})")
    return 0


def _report(options: argparse.Namespace) -> int:
    from srcid.runs.report import html_report

    notebooks = [_executed(source) for source in options.sources]
    print(_short(html_report(notebooks, options.to, title=options.title)))
    return 0


def _figure(options: argparse.Namespace) -> int:
    from srcid.runs.pictures import draw

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
    from srcid.runs.freeze import freeze

    paths = [runs.find_notebook(notebook) for notebook in options.notebooks]
    for path in paths:
        run = runs.execute(path)
        size = freeze(run.notebook, path)
        print(f"{_short(path)}: {size / 1e3:.0f} kB")
    return 0


def _values(words: Sequence[str]) -> dict[str, Word]:
    """Return ``name=value`` words as a dict; the notebook's declared types read the values."""
    wrong = [word for word in words if not word.partition("=")[0].isidentifier() or "=" not in word]
    if wrong:
        raise ValueError(f"found {', '.join(map(shorten, wrong))}; need name=value, e.g. data=digits seed=1")
    counts = Counter(word.partition("=")[0] for word in words)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise ValueError(f"{', '.join(sorted(map(shorten, twice)))} given more than once")
    return {name: Word(value) for name, _, value in (word.partition("=") for word in words)}


def _short(path: Path) -> str:
    """Path as seen from here, where that is shorter."""
    return min(str(path), os.path.relpath(path), key=len)


if __name__ == "__main__":
    sys.exit(main())
