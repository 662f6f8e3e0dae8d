"""Claims of the form "this is better than that", put to the test on paired seeds: a verdict in a plain sentence each.

A claim is decided by Student's t-test on the differences of paired seeds, at the level of all claims of one source
together (Holm's correction). Not to find a gain is no evidence that there is none: "does not help by a margin" is
supported where the gain is significantly below the margin, and contradicted where it is significantly above. A gain
that is real and smaller than the margin contradicts nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from srcid.evaluation.comparison import ACROSS, AVERAGE, WITHIN, check_names, score_matrix, seed_differences
from srcid.params import EvaluationParams
from srcid.statistics import ALPHA, LEAST, Interval, holm, t_interval, t_test

if TYPE_CHECKING:
    from srcid.evaluation.representation import Codes

_ANEW = ("stage1", "exchanged")  # what runs do not score by themselves
PARTS = ("all", "only1", *_ANEW)
SUPPORTED, CONTRADICTED, UNDECIDED = "supported", "contradicted", "undecided"


@dataclass(frozen=True)
class Claim:
    """That ``method`` scores higher than ``reference``, or (``gain=False``) does not score ``margin`` points higher.

    ``task`` and ``direction`` name a column of :func:`~srcid.evaluation.comparison.score_matrix`; ``source`` says
    whose claim it is. Claims of one source are corrected for each other.
    """

    text: str
    method: str
    reference: str
    task: str = AVERAGE
    direction: str = ACROSS
    gain: bool = True
    margin: float = 1.0
    source: str = "yours"


@dataclass(frozen=True)
class Verdict:
    """What the runs say of a claim.

    Attributes:
        difference: points, mean over paired seeds with its t-interval (not widened for other claims).
        p: of the two-sided test against 0, or against the margin; p_holm: after Holm's correction over ``claims``
            claims.
        seeds, missing: the pairs, and the seeds that one side lacks.
        verdict: ``supported``, ``contradicted`` or ``undecided``.
        why: where nothing could be tested, the reason.
    """

    claim: Claim
    difference: Interval
    p: float
    p_holm: float
    claims: int
    seeds: tuple[int, ...]
    missing: tuple[int, ...]
    verdict: str
    why: str

    @property
    def finding(self) -> str:
        """The claim, the difference with its interval, and the verdict, in words."""
        c, d = self.claim, self.difference
        where = f"{c.method} − {c.reference}, {c.task} {c.direction}"
        if not self.seeds:
            return f"{c.text}: {self.verdict}. {where}: {self.why}."
        number = f"{len(self.seeds)} seed{'s' if len(self.seeds) > 1 else ''}"
        found = f"{d.value:+.1f} points"
        if d.known:
            found += f" ({100 * d.level:g} % interval {d.low:+.1f} to {d.high:+.1f}, {number}"
            several = f"{self.claims} claim{'s' * (self.claims > 1)}"
            found += f"; p = {self.p_holm:.2g} corrected for {several})" if np.isfinite(self.p) else ")"
        else:
            found += f" ({number})"
        verdict = f"{self.verdict} at this number of seeds" if self.verdict == UNDECIDED else self.verdict
        more = f"; {self.why}" if self.why else ""
        lonely = ", ".join(map(str, self.missing))
        more += f"; seed{'s' * (len(self.missing) > 1)} {lonely} without a partner" if self.missing else ""
        return f"{c.text}: {verdict}. {where}: {found}{more}."


@dataclass(frozen=True)
class Verdicts:
    """The verdicts on several claims, in the order of the claims."""

    verdicts: tuple[Verdict, ...]

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self.verdicts)

    def frame(self) -> pd.DataFrame:
        """Return a row a claim: source, claim, difference, low, high, p_holm, seeds, verdict."""
        rows = [
            (v.claim.source, v.claim.text, v.difference.value, *v.difference.ends, v.p_holm, len(v.seeds), v.verdict)
            for v in self
        ]
        return pd.DataFrame(
            rows, columns=["source", "claim", "difference", "low", "high", "p_holm", "seeds", "verdict"]
        )

    @property
    def finding(self) -> str:
        """How many claims are supported, contradicted and undecided."""
        found = [v.verdict for v in self]
        counts = ", ".join(f"{found.count(name)} {name}" for name in (SUPPORTED, CONTRADICTED, UNDECIDED))
        return f"Of {len(found)} claims, {counts}"


def judge(matrix: pd.DataFrame, claims: Iterable[Claim]) -> Verdicts:
    """Put claims to the test on a score matrix; those of one source are corrected together.

    Raises:
        ComparisonError: methods or columns that the matrix does not have, all at once.
    """
    claims = tuple(claims)
    names = [name for claim in claims for name in (claim.method, claim.reference)]
    check_names(matrix, names, [(claim.task, claim.direction) for claim in claims])
    found = [seed_differences(matrix, c.method, c.reference, (c.task, c.direction)) for c in claims]
    nulls = [0.0 if claim.gain else claim.margin for claim in claims]  # support and contradiction are its two sides
    p = np.array([t_test(gaps, null, "two-sided") for (_, _, gaps), null in zip(found, nulls, strict=True)], float)
    corrected, number = np.full_like(p, np.nan), np.zeros(len(p), int)
    sources = np.array([claim.source for claim in claims])
    for source in dict.fromkeys(sources):
        corrected[sources == source] = holm(p[sources == source])
        number[sources == source] = np.isfinite(p[sources == source]).sum()
    verdicts = []
    for claim, (seeds, missing, gaps), null, *ps, count in zip(
        claims, found, nulls, p.tolist(), corrected.tolist(), number.tolist(), strict=True
    ):
        gap = t_interval(gaps)
        above = SUPPORTED if claim.gain else CONTRADICTED
        below = CONTRADICTED if claim.gain else SUPPORTED
        verdict = UNDECIDED if not ps[1] < ALPHA else above if gap.value > null else below
        verdicts.append(Verdict(claim, gap, *ps, count, seeds, missing, verdict, _why(gaps)))
    return Verdicts(tuple(verdicts))


def verdicts_by_score(
    directions: pd.DataFrame, claims: Iterable[Claim], representations: Sequence[str], task: str, scores: Sequence[str]
) -> pd.DataFrame:
    """Return the verdict on each claim by several scores of one task: a row a claim, a column a score."""
    claims = tuple(claims)
    found = {name: judge(score_matrix(directions, representations, {task: name}), claims) for name in scores}
    index = pd.Index([claim.text for claim in claims], name="claim")
    return pd.DataFrame({name: [v.verdict for v in verdicts] for name, verdicts in found.items()}, index=index)


def _why(gaps: np.ndarray) -> str:
    if not len(gaps):
        return "no seed that both have"
    if len(gaps) == 1:
        return f"one seed has no interval, and a verdict needs {LEAST}"
    if len(gaps) < LEAST:
        return f"a verdict needs {LEAST} seeds"
    if np.isnan(t_test(gaps, 0.0, "two-sided")):
        return "every seed gives the same difference, so its spread cannot be estimated"
    return ""


def paper_claims(
    methods: Iterable[str],
    tasks: Iterable[str] = (),
    reference: str = "dcid vq",
    margin: float = 1.0,
    codebook_size: int = 0,
) -> tuple[list[Claim], list[str]]:
    """Return the paper's claims that these methods can be asked about, and what is missing for the others.

    Table I: finer quantisation helps m → m and not m → n. Table II: SRCID is better than DCID across modalities, with
    one stage or two (as many codes as SRCID has), and its second layer is what makes it so, for localisation above
    all. Fig. 3: CLUB helps in both layers, and the middle of the codebook sizes is best. Controls of ours: the
    identity, the finest quantisation there could be; one layer and two without CLUB; a third layer; and methods with
    equal numbers of code vectors.

    Args:
        methods: labels, those of ``only1`` included (``srcid vq (only1)``).
        tasks: tasks that were scored.
        reference: the plain quantiser.
        margin: points; a smaller gain counts as none.
        codebook_size: L of runs whose label does not say it; 0: unknown.
    """
    methods, tasks = list(methods), list(tasks)
    table_1, table_2, figure_3 = "paper, Table I", "paper, Table II", "paper, Fig. 3"
    no_gain = f"does not help {{}} by {margin:g} point{'' if margin == 1 else 's'}"
    claims: list[Claim] = []
    missing: list[str] = []

    def ask(source: str, text: str, method: str, other: str, **rest: object) -> None:
        absent = [name for name in (method, other) if name not in methods]
        if absent:
            missing.append(f"{text}: no runs of {' and '.join(absent)}")
        else:
            claims.append(Claim(text, method, other, source=source, margin=margin, **rest))

    def sizes(method: str) -> dict[int, str]:
        """L, and the label, of runs of this method that differ in L alone."""
        named = {label.removeprefix(f"{method}, L="): label for label in methods}
        found = {int(size): label for size, label in named.items() if size.isdigit()}
        return found | ({codebook_size: method} if codebook_size and method in methods else {})

    kind = reference.partition(" ")[0]
    direct = [name.removeprefix(f"{kind} ") for name in methods if name.startswith(f"{kind} fsq, ")]
    for name in ("rvq2", "rvq3", "rvq4", "fsq", *direct):  # the paper does not say whether its FSQ has a projection
        ask(table_1, f"{name} helps m → m", f"{kind} {name}", reference, direction=WITHIN)
        ask(table_1, f"{name} {no_gain.format(ACROSS)}", f"{kind} {name}", reference, gain=False)
    control, identity = "control of Table I", f"{kind} identity"
    ask(control, "not quantising at all helps m → m", identity, reference, direction=WITHIN)
    ask(control, f"not quantising at all {no_gain.format(ACROSS)}", identity, reference, gain=False)
    two, dcid = "srcid vq", reference if kind == "dcid" else "dcid vq"
    ask(table_2, "SRCID is better than DCID m → n", two, dcid)
    ask(table_2, "a semantic residual is better than a numerical one m → n", two, "dcid rvq2")
    ask(table_2, "SRCID is better than CMCM m → n", two, "cmcm vq")
    ask(table_2, "DCID is better than CMCM m → n", dcid, "cmcm vq")
    ask(table_2, "layer 2 adds m → n", two, f"{two} (only1)")
    for task in tasks:
        if task in ("classification", "unpaired"):  # one event a clip; the others ask when
            text = f"layer 2 {no_gain.format(f'{task} {ACROSS}')}"
            ask(table_2, text, two, f"{two} (only1)", task=task, gain=False)
        else:
            ask(table_2, f"layer 2 adds to {task} m → n", two, f"{two} (only1)", task=task)
    control, without = "control of Table II", f"{dcid}, club_off=[1]"
    ask(control, "CLUB helps DCID m → n", dcid, without)
    ask(control, "without CLUB, SRCID is better than DCID m → n", f"{two}, club_off=[1,2]", without)
    ask(control, "a third layer adds m → n", "K3 vq", two)
    ask(control, "a third layer adds m → m", "K3 vq", two, direction=WITHIN)
    for off, where in (("[1]", "layer 1"), ("[2]", "layer 2"), ("[1,2]", "both layers")):
        ask(figure_3, f"CLUB in {where} helps m → n", two, f"{two}, club_off={off}")
    ask(figure_3, "CLUB matters more in layer 1 than in layer 2", f"{two}, club_off=[2]", f"{two}, club_off=[1]")
    one_layer, two_layers = sizes(dcid), sizes(two)
    for size, name in two_layers.items():
        if name != two:
            ask(figure_3, f"L = {size} is worse than the preset's size m → n", two, name)
    for name in methods:
        if name.startswith(f"{kind} rvq") and ", L=" in name:
            ask("equal vectors, Table I", f"{name} helps m → m", name, reference, direction=WITHIN)
            ask("equal vectors, Table I", f"{name} {no_gain.format(ACROSS)}", name, reference, gain=False)
    for size in sorted(two_layers):
        if 2 * size in one_layer:
            text = f"SRCID with L = {size} is better than DCID with L = {2 * size} m → n"
            ask("equal vectors, Table II", text, two_layers[size], one_layer[2 * size])
    return claims, missing


def probe_parts(
    tables: Mapping[str, Codes],
    directions: pd.DataFrame,
    params: pd.DataFrame,
    progress: Callable[[str], None] | None = None,
) -> pd.DataFrame:
    """Fit probes that read the first part of each run's code alone, or later parts with vectors exchanged.

    Probes read vectors. Two modalities that choose different codes with close vectors are alike to a probe, two that
    choose the same code always are. To exchange the vectors among the codes of a part takes the first away and leaves
    the second.

    Args:
        tables: code table by run.
        directions: what the runs scored, of these runs and others (:func:`srcid.runs.collect`); the same tasks are
            scored again.
        params: a row a run with its parameters; its own probe settings are used.
        progress: called with the name of each run before its probes are fitted.

    Returns:
        the rows of ``directions`` of these runs, and behind them those of the representations ``stage1`` and
        ``exchanged`` that the run's code has (:meth:`srcid.evaluation.representation.Representation.named`).
    """
    from srcid.evaluation.probes import fit_probes

    frames = []
    for run, table in tables.items():
        if progress is not None:
            progress(run)
        mine = directions[directions["run"] == run]
        settings = {name: params.at[run, name] for name in EvaluationParams.model_fields}
        tasks = list(dict.fromkeys(mine["task"]))
        found = fit_probes(table, EvaluationParams(**settings), tasks, _ANEW).frame()
        about = {name: mine[name].iloc[0] for name in ("run", "method", "seed", "data")}
        frames += [mine, found.assign(**about)] if len(found) else [mine]
    return pd.concat(frames, ignore_index=True)


def part_claims(methods: Iterable[str], asked: Iterable[str]) -> list[Claim]:
    """Return what to ask of each method: do later parts help other modalities, and do they without their geometry?

    Args:
        methods: labels, those of representations included (``srcid vq (only1)``).
        asked: labels of the methods to ask about, without representation.
    """
    there = set(methods)
    claims = []
    for method in asked:
        first = next((name for name in (f"{method} (stage1)", f"{method} (only1)") if name in there), None)
        exchanged = f"{method} (exchanged)"
        if first is None or exchanged not in there:
            continue
        questions = {
            "later parts help m → n": (method, first),
            "with vectors exchanged, later parts help m → n": (exchanged, first),
            "later parts help m → n more with their own vectors": (method, exchanged),
        }
        claims += [Claim(f"{method}: {text}", *pair, source="parts of a code") for text, pair in questions.items()]
    return claims
