"""Comparisons say what scipy says, pair what belongs together, and do not decide what cannot be decided."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from srcid.evaluation.claims import Claim, judge, paper_claims, verdicts_by_score
from srcid.evaluation.comparison import ComparisonError, choose_reference, leader, means, paired, score_matrix
from srcid.evaluation.tables import comparison_table, paper_scores, tables_by_score
from srcid.evaluation.tradeoff import ablation, equal_vectors, quality
from srcid.statistics import holm

TASKS = (("classification", "accuracy", 0, 10.0), ("localisation", "precision", 10, 40.0))
CELL = ("average", "m → n")
SEEDS = range(5)


def make_directions(scores, **changes):
    """One row a direction: ``scores`` is {(method, seed): (across, within)}; localisation lies 10 lower."""
    rows = [
        dict(
            run=f"{method} s{seed}", method=method, seed=seed, data="toy 1", task=task, representation="all", train=a,
            test=b, same=a == b, metric=metric, score=(within if a == b else across) - drop,
            clip_low=(within if a == b else across) - drop - 4, clip_high=(within if a == b else across) - drop + 2,
            chance=chance, f1=np.nan if task == "classification" else 7.0,
        )
        for (method, seed), (across, within) in scores.items()
        for task, metric, drop, chance in TASKS
        for a in ("x", "y")
        for b in ("x", "y")
    ]  # fmt: skip
    return pd.DataFrame([row | changes for row in rows])


@pytest.fixture(scope="module")
def scores():
    draw = np.random.default_rng(0)
    luck = draw.normal(0, 5, len(SEEDS))  # shared by all methods of a seed
    own = {name: draw.normal(0, 0.5, (len(SEEDS), 2)) for name in ("dcid vq", "dcid rvq2", "dcid fsq")}
    gain = {"dcid vq": (0, 0), "dcid rvq2": (-0.8, 6), "dcid fsq": (-9, 0.2)}
    return {
        (name, seed): tuple(60 + luck[seed] + own[name][seed] + gain[name]) for name in own for seed in SEEDS
    }  # fmt: skip


@pytest.fixture(scope="module")
def directions(scores):
    return make_directions(scores)


@pytest.fixture(scope="module")
def matrix(directions):
    return score_matrix(directions)


def test_the_matrix_has_directions_and_their_means_in_the_order_of_the_scores(matrix, scores):
    assert list(dict.fromkeys(matrix.index.get_level_values("method"))) == ["dcid vq", "dcid rvq2", "dcid fsq"]
    assert [d for t, d in matrix.columns if t == "classification"] == [
        "x → y",
        "y → x",
        "x → x",
        "y → y",
        "m → n",
        "m → m",
    ]
    assert list(matrix.columns[-2:]) == [("average", "m → n"), ("average", "m → m")]
    row = matrix.loc[("dcid rvq2", 3, "dcid rvq2 s3")]
    across, within = scores["dcid rvq2", 3]
    assert row["classification", "m → n"] == pytest.approx(across)
    assert row["average", "m → n"] == pytest.approx(across - 5)
    assert row["average", "m → m"] == pytest.approx(within - 5)


def test_means_and_intervals_are_those_of_scipy(matrix, scores):
    cell = means(matrix).set_index(["method", "task", "direction"]).loc[("dcid fsq", *CELL)]
    values = [scores["dcid fsq", seed][0] - 5 for seed in SEEDS]
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert (cell.score, cell.low, cell.high, cell.seeds) == pytest.approx((np.mean(values), low, high, 5))


def test_differences_are_paired_by_seed_and_tested_as_scipy_does(matrix, scores):
    frame = paired(matrix, "dcid vq").rows
    assert len(frame) == 2 * 6 and set(frame["reference"]) == {"dcid vq"}
    row = frame.set_index(["method", "task", "direction"]).loc[("dcid rvq2", "average", "m → m")]
    a, b = ([scores[name, seed][1] for seed in SEEDS] for name in ("dcid rvq2", "dcid vq"))
    test = stats.ttest_rel(a, b)
    interval = test.confidence_interval(0.95)
    assert (row.difference, row.low, row.high) == pytest.approx((np.subtract(a, b).mean(), interval.low, interval.high))
    assert row.p == pytest.approx(test.pvalue)
    assert row.seeds == tuple(SEEDS) and row.missing == ()
    # pairing removes the luck that a seed brings to both
    apart = stats.ttest_ind(a, b).confidence_interval(0.95)
    assert row.high - row.low < 0.5 * (apart.high - apart.low)
    np.testing.assert_allclose(frame["p_holm"], holm(frame["p"].to_numpy()))


def test_seeds_without_a_partner_are_left_out_and_named(scores):
    some = {key: value for key, value in scores.items() if key not in {("dcid vq", 1), ("dcid fsq", 4)}}
    row = paired(score_matrix(make_directions(some)), "dcid vq", [CELL]).rows.set_index("method").loc["dcid fsq"]
    assert row.seeds == (0, 2, 3) and row.missing == (1, 4)
    gaps = [scores["dcid fsq", s][0] - scores["dcid vq", s][0] for s in (0, 2, 3)]
    assert row.difference == pytest.approx(np.mean(gaps))


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(holm([0.5, np.nan, 0.9]), [1.0, np.nan, 1.0])
    assert holm([]).shape == (0,)


def test_an_unknown_reference_or_column_is_refused_with_what_there_is(matrix):
    with pytest.raises(ComparisonError, match=r"'dcid vg' \(did you mean 'dcid vq'\?\); there are dcid vq, dcid rvq2"):
        paired(matrix, "dcid vg")
    with pytest.raises(ComparisonError) as error:
        judge(matrix, [Claim("a", "nobody", "dcid vq", task="sleeping")])
    assert "'nobody'" in str(error.value) and "'sleeping m → n'" in str(error.value)


def test_scores_that_do_not_belong_together_are_refused(directions):
    other = directions[directions["method"] == "dcid fsq"].assign(data="toy 2")
    with pytest.raises(ComparisonError, match=r"several data sets, toy 1 \(10 runs\), toy 2 \(5 runs\)"):
        score_matrix(pd.concat([directions[directions["method"] != "dcid fsq"], other]))
    twin = directions[directions["run"] == "dcid vq s0"].assign(run="again")
    with pytest.raises(ComparisonError, match="dcid vq, seed 0: dcid vq s0, again"):
        score_matrix(pd.concat([directions, twin]))
    with pytest.raises(ComparisonError) as error:
        score_matrix(directions.drop(columns=["seed"]), metrics={"localisation": "beauty"})
    assert "no column 'seed'" in str(error.value) and "no score 'beauty' of localisation" in str(error.value)
    with pytest.raises(ComparisonError, match="no scores of only1; there is all"):
        score_matrix(directions, ("only1",))


def test_a_run_that_lacks_a_direction_has_no_mean(directions):
    lacks = (directions["run"] == "dcid vq s0") & (directions["task"] == "localisation") & (directions["test"] == "y")
    matrix = score_matrix(directions[~lacks])
    row = matrix.loc[("dcid vq", 0, "dcid vq s0")]
    assert (
        np.isnan(row["localisation", "m → n"]) and np.isnan(row[CELL]) and np.isfinite(row["classification", "m → n"])
    )
    assert paired(matrix, "dcid vq", [CELL]).rows["missing"].tolist() == [(0,), (0,)]


def test_another_score_takes_the_place_of_one_task_only(directions, matrix):
    by_f1 = score_matrix(directions, metrics={"localisation": "f1"})
    assert (by_f1["localisation", "m → n"] == 7).all()
    pd.testing.assert_series_equal(by_f1["classification", "m → n"], matrix["classification", "m → n"])
    pd.testing.assert_frame_equal(score_matrix(directions, metrics={"localisation": "score"}), matrix)


def test_other_representations_stand_below_their_method(directions):
    first = directions[directions["method"] == "dcid rvq2"].assign(representation="only1", score=1.0)
    matrix = score_matrix(pd.concat([first, directions]), ("all", "only1"))
    names = list(dict.fromkeys(matrix.index.get_level_values("method")))
    assert [n for n in names if "rvq2" in n] == ["dcid rvq2", "dcid rvq2 (only1)"]
    assert (matrix.xs("dcid rvq2 (only1)", level="method")[CELL] == 1).all()


def test_the_table_prints_means_intervals_and_chance(directions, matrix):
    table = comparison_table(directions, only_means=True)
    cell = means(matrix).set_index(["method", "task", "direction"]).loc[("dcid vq", *CELL)]
    assert table.loc["dcid vq", CELL] == f"{cell.score:.1f} ± {(cell.high - cell.low) / 2:.1f}"
    assert table.loc["dcid vq", ("", "seeds")] == "5"
    assert table.loc["chance", CELL] == "25.0"
    assert table.shape == (4, 7)
    full = comparison_table(directions, clips=True)
    low = directions[(directions["method"] == "dcid vq") & ~directions["same"]]["clip_low"].mean()
    assert full.loc["dcid vq", CELL].endswith(f"[{low:.1f}, {low + 6:.1f}]")
    single = comparison_table(directions[directions["seed"] == 0])
    assert "±" not in single.loc["dcid vq", CELL] and single.loc["dcid vq", ("", "seeds")] == "1"


def test_a_leader_is_named_only_where_every_pair_is_certain(matrix):
    first = leader(matrix, ("average", "m → m"))
    assert first.method == "dcid rvq2" and first.equals == () and first.says("m → m").endswith("scores highest")
    second = leader(matrix, CELL)
    assert second.method == "dcid vq" and "dcid fsq" not in second.equals
    few = leader(matrix[matrix.index.get_level_values("seed") < 2], CELL)
    assert set(few.equals) == {"dcid rvq2", "dcid fsq"} and "undecided between" in few.says("m → n")
    assert leader(matrix.loc[["dcid vq"]], CELL) is None


@pytest.mark.parametrize("wanted, found", [
    ("dcid vq", "dcid vq"), ("srcid fsq", "dcid fsq"), ("dcid rvq", "dcid rvq, L=50"), ("K3 lfq", "dcid vq"),
])  # fmt: skip
def test_another_reference_takes_the_place_of_one_that_is_not_there(wanted, found):
    name, said = choose_reference(["dcid vq", "dcid rvq, L=50", "dcid fsq"], wanted)
    assert name == found
    assert said == ("" if name == wanted else f"There are no runs of {wanted}: the reference is {found}.")
    assert choose_reference(["srcid vq", "srcid vq (only1)"], "dcid vq")[0] == "srcid vq"


def test_tables_and_verdicts_stand_side_by_side_for_each_score(directions, matrix):
    table = tables_by_score(directions, ("all",), "localisation", ("score", "f1"))
    assert table.loc["dcid vq", ("f1", "localisation", "m → n")] == "7.0 ± 0.0"
    claims = [Claim("finer helps", "dcid rvq2", "dcid vq", task="localisation", direction="m → m")]
    frame = verdicts_by_score(directions, claims, ("all",), "localisation", ("score", "f1"))
    assert frame.loc["finer helps"].to_dict() == {"score": "supported", "f1": "undecided"}


def test_runs_of_as_many_vectors_over_all_layers_are_found():
    rows = dict(a=("dcid vq", 200, 1, []), b=("srcid vq, L=100", 100, 2, []), c=("srcid vq", 200, 2, []),
                d=("srcid vq, L=100, club_off=[1]", 100, 2, [1]))  # fmt: skip
    params = pd.DataFrame.from_dict(rows, orient="index", columns=["method", "vectors", "layers", "club_off"])
    assert equal_vectors(params, "dcid vq") == ["a", "b"]
    assert equal_vectors(params, "srcid vq") == [] == equal_vectors(params, "nobody")


# --- claims ---


def verdict(matrix, **claim):
    [found] = judge(matrix, [Claim("it", "dcid rvq2", "dcid vq", **claim)])
    return found


def test_claims_are_supported_and_contradicted(matrix):
    better = verdict(matrix, direction="m → m")
    assert better.verdict == "supported" and better.p_holm < 0.05
    assert better.finding.startswith("it: supported. dcid rvq2 − dcid vq, average m → m: +")
    assert "5 seeds; p = " in better.finding and "corrected for 1 claim)" in better.finding
    assert verdict(matrix, direction="m → m", gain=False).verdict == "contradicted"
    [worse] = judge(matrix, [Claim("it", "dcid fsq", "dcid vq")])
    assert worse.verdict == "contradicted" and worse.difference.high < 0


def test_no_gain_is_supported_only_where_a_gain_is_excluded(matrix):
    assert verdict(matrix, gain=False, margin=1).verdict == "supported"
    [unclear] = judge(matrix, [Claim("it", "dcid fsq", "dcid vq", direction="m → m", gain=False, margin=0.0)])
    assert unclear.difference.low < 0 < unclear.difference.high
    assert unclear.verdict == "undecided" and "undecided at this number of seeds" in unclear.finding


@pytest.mark.parametrize("gain, expected", [
    (0.5, {"contradicted": (0.0, 0.04)}), (1.0, {"contradicted": (0.0, 0.07), "supported": (0.0, 0.07)}),
    (3.0, {"contradicted": (0.9, 1.0)}), (-1.0, {"supported": (0.9, 1.0)}),
])  # fmt: skip
def test_a_gain_below_the_margin_does_not_contradict_that_it_is_below(gain, expected):
    """Of 200 simulated comparisons of five seeds; a test against 0 contradicted a true gain of 0.5 in half of them."""
    index = pd.MultiIndex.from_product([["a", "b"], SEEDS, ["run"]], names=["method", "seed", "run"])
    cells = [("average", str(number)) for number in range(200)]
    gaps = gain + np.random.default_rng(7).normal(0, 0.45, (len(SEEDS), len(cells)))
    matrix = pd.DataFrame(np.concatenate([0 * gaps, gaps]), index, pd.MultiIndex.from_tuples(cells))
    claims = [Claim("it", "b", "a", *cell, gain=False, margin=1.0, source=cell[1]) for cell in cells]
    found = [verdict.verdict for verdict in judge(matrix, claims)]
    for verdict, (low, high) in expected.items():
        assert low <= found.count(verdict) / len(cells) <= high


def test_claims_of_one_source_are_corrected_together(matrix):
    one = Claim("it", "dcid rvq2", "dcid vq", direction="m → m", source="a")
    alone, *_ = judge(matrix, [one])
    among, *_ = both = judge(matrix, [one] + [Claim("more", "dcid fsq", "dcid vq", direction="m → m", source="a")] * 3)
    beside, *_ = judge(matrix, [one, Claim("more", "dcid fsq", "dcid vq", source="b")])
    assert among.p_holm == pytest.approx(4 * alone.p) and among.claims == 4
    assert beside.p_holm == alone.p_holm == alone.p
    assert both.frame()["verdict"].tolist() == ["supported"] + [v.verdict for v in both][1:]


@pytest.mark.parametrize("count, why", [(1, "one seed has no interval"), (2, "a verdict needs 3 seeds")])
def test_few_seeds_decide_nothing_however_clear(count, why):
    clear = {("dcid vq", s): (50 + s / 10, 50) for s in range(count)}
    clear |= {("dcid rvq2", s): (90 + s / 5, 90) for s in range(count)}
    matrix = score_matrix(make_directions(clear))
    found = verdict(matrix)
    assert found.verdict == "undecided" and why in found.finding
    assert found.difference.known == (count > 1) and np.isnan(found.p_holm)
    assert paired(matrix, "dcid vq").rows["p"].isna().all()


def test_constant_scores_give_no_verdict():
    same = {(name, s): (50.1, 60.3) for name in ("dcid vq", "dcid rvq2") for s in SEEDS}
    shifted = same | {("dcid rvq2", s): (50.4, 60.6) for s in SEEDS}
    for scores, gap in ((same, 0), (shifted, 0.3)):
        found = verdict(score_matrix(make_directions(scores)))
        assert found.difference.value == pytest.approx(gap) and found.verdict == "undecided"
        assert "the same difference" in found.finding


def test_methods_that_share_no_seed_cannot_be_judged():
    apart = {("dcid vq", 0): (50, 50), ("dcid rvq2", 1): (60, 60)}
    found = verdict(score_matrix(make_directions(apart)))
    assert found.verdict == "undecided" and found.seeds == () and "no seed that both have" in found.finding


def test_the_papers_claims_name_what_is_missing():
    claims, missing = paper_claims(["dcid vq", "dcid rvq2", "dcid rvq2, L=100"], ["classification", "localisation"])
    assert [(c.method, c.direction, c.gain) for c in claims] == [
        ("dcid rvq2", "m → m", True),
        ("dcid rvq2", "m → n", False),
        ("dcid rvq2, L=100", "m → m", True),
        ("dcid rvq2, L=100", "m → n", False),
    ]
    assert any("dcid fsq" in line for line in missing) and any("srcid vq (only1)" in line for line in missing)
    everything = ["dcid vq", "dcid rvq2", "dcid rvq3", "dcid rvq4", "dcid fsq", "dcid identity", "cmcm vq", "srcid vq"]
    everything += ["srcid vq (only1)", *(f"srcid vq, club_off={off}" for off in ("[1]", "[2]", "[1,2]"))]
    everything += ["dcid vq, club_off=[1]", "K3 vq"]
    claims, missing = paper_claims(everything + ["srcid vq, L=50"], ["classification", "localisation"])
    assert missing == [] and len({c.text for c in claims}) == len(claims) == 26
    sized = ["dcid vq", "dcid vq, L=100", "srcid vq", "srcid vq, L=50", "srcid vq, L=100", "srcid vq, L=400"]
    equal = {(c.method, c.reference) for c in paper_claims(sized, codebook_size=200)[0] if "equal" in c.source}
    assert equal == {("srcid vq, L=50", "dcid vq, L=100"), ("srcid vq, L=100", "dcid vq")}
    alone, lacking = paper_claims(["srcid vq", "srcid rvq2"], reference="srcid vq")  # a sweep of one preset
    assert [(c.method, c.reference) for c in alone] == [("srcid rvq2", "srcid vq")] * 2
    assert "SRCID is better than DCID m → n: no runs of dcid vq" in lacking
    direct, _ = paper_claims(["dcid vq", "dcid fsq, fsq_projection=False"])  # FSQ on the features themselves
    assert [(c.method, c.gain) for c in direct] == [("dcid fsq, fsq_projection=False", gain) for gain in (True, False)]


# --- costs, ablation, the paper ---


def test_quality_puts_costs_beside_scores(matrix):
    runs = matrix.index.get_level_values("run")
    costs = pd.DataFrame(
        {
            "parameters": 2_000_000, "ms_per_step": np.arange(len(runs), dtype=float), "bits/1/joint": 3.0,
            "bits/2/joint": 4.0, "bits/1/x": 99.0, "val/recon/1/x": 0.2, "val/recon/1/y": 0.4, "val/recon/2/x": 9.0,
        },
        index=runs,
    )  # fmt: skip
    costs.loc["dcid fsq s0":"dcid fsq s4", ["bits/1/joint", "bits/2/joint"]] = np.nan
    found = quality(matrix, costs).rows
    row = found.loc["dcid vq"]
    assert row["parameters", "mean"] == 2 and row["bits", "mean"] == 7
    assert row["reconstruction", "mean"] == pytest.approx(0.3)
    assert list(row["ms_per_step"][["mean", "low", "high"]]) == [2, 0, 4]
    assert np.isnan(found.loc["dcid fsq", ("bits", "mean")])
    assert row["across", "mean"] == pytest.approx(matrix.xs("dcid vq", level="method")[CELL].mean())
    assert np.isnan(quality(matrix, costs[["parameters"]]).rows["ms_per_step", "mean"]).all()


def test_the_ablation_groups_by_size_and_club(scores):
    names = {"dcid vq": "srcid vq", "dcid rvq2": "srcid vq, L=50", "dcid fsq": "srcid vq, club_off=[1]"}
    matrix = score_matrix(make_directions({(names[m], s): value for (m, s), value in scores.items()}))
    plain = dict(family="srcid vq", quantizer="vq", codebook_size=200, club_off=[])
    params = pd.DataFrame({run: plain for run in matrix.index.get_level_values("run")}).T
    params.loc[params.index.str.contains("L=50"), "codebook_size"] = 50
    for run in params.index[params.index.str.contains("club_off")]:
        params.at[run, "club_off"] = [1]
    found = ablation(matrix, params).rows
    keys = list(zip(found["codebook_size"], found["club_off"], strict=True))
    assert keys == [(50, ()), (50, ()), (200, ()), (200, ()), (200, (1,)), (200, (1,))]
    small = found[(found["codebook_size"] == 50) & (found["direction"] == "m → n")].iloc[0]
    assert (
        small["score"] == pytest.approx(np.mean([scores["dcid rvq2", s][0] - 5 for s in SEEDS])) and small["seeds"] == 5
    )
    assert len(ablation(matrix, params.assign(quantizer="fsq")).rows) == 0
    said = ablation(matrix, params)
    assert said.sizes["srcid vq"].method == "L = 200" and said.club.rows["method"].tolist() == ["srcid vq, layer 1"]
    gap = np.mean([scores["dcid fsq", s][0] - scores["dcid vq", s][0] for s in SEEDS])
    assert f"CLUB off: srcid vq, layer 1: {gap:+.1f} points" in said.finding


def test_the_papers_averages_follow_from_its_cells():
    average = paper_scores()["average"].round(2)
    printed = {
        "DCID (VQ)": (59.58, 73.32), "DCID (FSQ)": (52.71, 80.55), "DCID (RVQ-2)": (59.20, None),
        "DCID (RVQ-3)": (58.26, None), "DCID (RVQ-4)": (59.50, 78.28), "CODIS": (42.78, None), "TURN": (43.24, None),
        "CMCM": (49.53, None), "SRCID (only1)": (59.61, None), "SRCID": (62.21, None),
    }  # fmt: skip
    assert list(average.index) == list(printed)
    for method, (across, within) in printed.items():
        assert average.loc[method, "m → n"] == pytest.approx(across, abs=0.011)
        assert np.isnan(average.loc[method, "m → m"]) if within is None else average.loc[method, "m → m"] == within
