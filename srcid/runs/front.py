"""The front of a report: its title and date, the runs that it tells of, and what they found in three sentences."""

from __future__ import annotations

import contextlib
import html
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from srcid.runs.folders import Run, RunError

SENTENCES = 3
# Figures whose titles, which are findings, say most of a run; the others follow by name.
_TELLING = ("scores", "methods", "differences", "ablation", "agreement", "meaning", "within", "usage", "curves")
_HEAD = ("run", "notebook", "data", "status", "ended", "code")


def front(title: str, notebooks: Sequence[Path]) -> str:
    """Return the top of a page of executed notebooks as HTML.

    Args:
        notebooks: those that lie in run folders tell of their runs; the last one's findings come first.
    """
    found = []
    for folder in dict.fromkeys(path.parent for path in notebooks):
        with contextlib.suppress(RunError):  # executed by hand, or passed on without its folder
            found.append(Run.open(folder))
    ended = max((run.status.get("ended") or "" for run in found), default="")
    date = f'<p id="report-date">{_date(ended)}</p>' if ended else ""
    telling = sorted((finding for run in found[::-1] for finding in _findings(run)), key=lambda finding: finding[0])
    sentences = [sentence for _, sentence in telling][:SENTENCES]
    verdict = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences)
    return (
        f'<div id="report-head"><h1>{html.escape(title)}</h1>'
        f'<button id="report-code" type="button">show or hide code</button></div>{date}'
        + (f'<div id="report-verdict">{verdict}</div>' if verdict else "")
        + (_table(found) if found else "")
    )


def _findings(run: Run) -> Iterator[tuple[int, str]]:
    """What a run found, each with its rank: the titles of the figures that it has kept."""
    for name in sorted(path.stem for path in run.figures.glob("*.json")):
        with contextlib.suppress(RunError, KeyError, TypeError):  # damaged; the figure itself is not shown here
            text = run.read(f"figures/{name}.json")["figure"]["layout"]["title"]["text"]
            if isinstance(text, str) and text.strip():
                sentence = html.unescape(re.sub(r"<[^<>]*>", " ", text))
                rank = _TELLING.index(name) if name in _TELLING else len(_TELLING)
                yield rank, re.sub(r"\s+", " ", sentence).strip().rstrip(".")[:400] + "."


def _table(runs: Sequence[Run]) -> str:
    rows = "".join(f"<tr>{''.join(f'<td>{html.escape(word)}</td>' for word in _facts(run))}</tr>" for run in runs)
    return f'<table id="report-runs"><tr>{"".join(f"<th>{name}</th>" for name in _HEAD)}</tr>{rows}</table>'


def _facts(run: Run) -> list[str]:
    status = run.status
    values: Any = status.get("values")
    data = values.get("data") if isinstance(values, dict) else None
    words = [run.name, status["notebook"], Path(str(data or "")).name, status["status"]]
    words += [_date(status.get("ended") or ""), str(status.get("code") or "")]
    return [word[:120] for word in words]


def _date(time: str) -> str:
    moment = datetime.fromisoformat(time) if time else None
    return f"{moment.day} {moment:%B %Y, %H:%M}" if moment else ""
