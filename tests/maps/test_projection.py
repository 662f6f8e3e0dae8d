"""Maps: exact neighbours, judged by quality, reproducible, cached by content, refused in sentences."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.manifold import trustworthiness

from srcid.maps.atlas import Atlas, Missing, quality_table
from srcid.maps.graph import mixing, neighbour_graph, quality_of
from srcid.maps.points import MapError, Points, codebook_points, feature_points, stratified
from srcid.maps.projection import project
from srcid.symbols import InspectionError


def clusters(n=110, width=12, groups=4, seed=0):
    """Well separated groups, and which group each point is of."""
    draw = np.random.default_rng(seed)
    group = draw.integers(groups, size=n)
    features = 6 * draw.normal(size=(groups, width))[group] + draw.normal(size=(n, width))
    return features.astype(np.float32), group


def purity(coordinates, group, k=5):
    """Share of neighbours in the map that are of the point's own group."""
    graph = neighbour_graph(coordinates, k)
    return (group[graph.indices] == group[:, None]).mean()


@pytest.fixture(scope="module")
def points():
    features, group = clusters()
    modality = np.array(["a", "b"])[np.random.default_rng(1).integers(2, size=len(group))]
    return Points.of(features, "test", code=group, modality=modality)


@pytest.fixture(scope="module")
def umaps(points):
    """All UMAP fits of the session: the first compiles, the others are quick."""
    return {
        "plain": project(points, "umap"),
        "again": project(points, "umap", graph=neighbour_graph(points.features, 40)),
        "seed": project(points, "umap", seed=1),
        "deep": project(points, "umap", dimensions=3, neighbours=8),
    }


def test_neighbours_are_exact_and_leave_the_point_out():
    features, _ = clusters(90)
    features[7] = features[8] = features[9]  # points in one place are neighbours of each other
    graph = neighbour_graph(features, 12)
    gap = np.linalg.norm(features[:, None].astype(float) - features[None], axis=-1)
    np.fill_diagonal(gap, np.inf)
    np.testing.assert_allclose(graph.distances, np.sort(gap, axis=1)[:, :12], atol=1e-4)
    np.testing.assert_allclose(graph.distances, np.take_along_axis(gap, graph.indices, 1), atol=1e-4)
    assert (graph.indices != np.arange(90)[:, None]).all()
    assert set(graph.indices[7, :2]) == {8, 9}


def test_a_larger_graph_on_disk_serves_a_smaller_need(tmp_path, points):
    large = neighbour_graph(points.features, 30, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    again = neighbour_graph(points.features, 10, cache=tmp_path)
    np.testing.assert_array_equal(again.indices, large.indices)
    assert neighbour_graph(points.features, 31, cache=tmp_path).size == 31
    assert len(list(tmp_path.iterdir())) == 1


def test_pca_is_the_singular_value_decomposition(points):
    found = project(points, "pca", dimensions=3).coordinates
    centred = points.features - points.features.mean(axis=0)
    u, s, _ = np.linalg.svd(centred.astype(float), full_matrices=False)
    np.testing.assert_allclose(np.abs(found), np.abs(u[:, :3] * s[:3]), atol=1e-3)


def test_tsne_keeps_neighbours(points):
    found = project(points, "tsne", perplexity=10)
    assert found.coordinates.shape == (110, 2) and found.coordinates.dtype == np.float32
    assert found.quality.trustworthiness > 0.93 and found.quality.preservation.value > 0.4
    assert purity(found.coordinates, points.columns["code"]) > 0.98
    assert "perplexity 10, seed 0, openTSNE" in found.caption()


def test_tsne_reproduces_and_its_options_arrive(points):
    plain = project(points, "tsne").coordinates
    shared = project(points, "tsne", graph=neighbour_graph(points.features, 100)).coordinates
    np.testing.assert_array_equal(plain, shared)
    for change in (dict(perplexity=10), dict(seed=1)):
        assert (project(points, "tsne", **change).coordinates != plain).any()


@pytest.mark.parametrize("threads", ["1", "3"])
def test_threads_change_no_bit_of_tsne(points, monkeypatch, threads):
    plain = project(points, "tsne").coordinates
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    np.testing.assert_array_equal(project(points, "tsne").coordinates, plain)


def test_umap_keeps_neighbours_and_reproduces(points, umaps):
    plain = umaps["plain"]
    assert plain.quality.trustworthiness > 0.9 and purity(plain.coordinates, points.columns["code"]) > 0.98
    np.testing.assert_array_equal(plain.coordinates, umaps["again"].coordinates)
    assert "UMAP of 110 points (neighbours 15, seed 0, umap-learn " in plain.caption()
    assert (umaps["seed"].coordinates != plain.coordinates).any()
    assert umaps["deep"].coordinates.shape == (110, 3) and umaps["deep"].params["neighbours"] == 8


def test_cache_is_by_content(tmp_path, points):
    first = project(points, "tsne", cache=tmp_path)
    again = project(points, "tsne", cache=tmp_path)
    assert (first.cached, again.cached) == (False, True)
    np.testing.assert_array_equal(first.coordinates, again.coordinates)
    assert repr(again.quality) == repr(first.quality) and again.caption() == first.caption()
    changed = points.features.copy()
    changed[3, 3] += 1e-3
    for other in (
        project(points, "tsne", perplexity=29, cache=tmp_path),
        project(points, "tsne", seed=5, cache=tmp_path),
        project(points, "pca", cache=tmp_path),
        project(changed, "pca", cache=tmp_path),
    ):
        assert not other.cached
    for file in tmp_path.iterdir():
        file.write_bytes(b"torn")
    mended = project(points, "tsne", cache=tmp_path)
    np.testing.assert_array_equal(mended.coordinates, first.coordinates)
    assert not mended.cached and project(points, "tsne", cache=tmp_path).cached


def test_quality_tells_good_maps_from_bad(points):
    features, modality = points.features, points.columns["modality"]
    graph = neighbour_graph(features, 15)
    strewn = np.random.default_rng(0).normal(size=(110, 2))
    good = quality_of(features, features, modality, graph)
    bad = quality_of(features, strewn, modality, graph)
    assert (good.trustworthiness, good.preservation.value) == (1, 1) and good.mixing["map"].value == good.mixing[
        "features"
    ].value
    assert bad.trustworthiness < 0.65 and bad.preservation.value < 0.2 and good.ties == bad.ties == 0
    stacked = quality_of(features, np.zeros((110, 2)), None, graph)
    assert np.isnan(stacked.mixing_chance) and not stacked.mixing and 0 <= stacked.preservation.value < 0.3
    assert quality_of(features, features, modality, graph, most=50).sampled == 50


@pytest.mark.parametrize("seed", range(3))
def test_without_ties_quality_is_what_scikit_learn_and_counting_say(seed):
    draw = np.random.default_rng(seed)
    features, _ = clusters(150, seed=seed)
    flat = (features[:, :2] + draw.normal(size=(150, 2))).astype(np.float32)
    found = quality_of(features, flat, None, neighbour_graph(features, 10))
    assert found.trustworthiness == pytest.approx(trustworthiness(features, flat, n_neighbors=10))
    true, mapped = neighbour_graph(features, 10).indices, neighbour_graph(flat, 10).indices
    both = [len(set(a) & set(b)) / 10 for a, b in zip(true.tolist(), mapped.tolist(), strict=True)]
    assert found.preservation.value == pytest.approx(np.mean(both), abs=0.002)


def test_ties_count_as_kept_and_are_said():
    """A perfect map of 7 rows, 50 copies each: which copies are the nearest is arbitrary."""
    rows = np.random.default_rng(0).normal(size=(7, 6)).astype(np.float32)
    features = np.repeat(rows, 50, axis=0)
    found = project(Points.of(features, "copies"), "pca", dimensions=3)
    q = quality_of(features, features, None, neighbour_graph(features, 15))
    assert (q.preservation.value, q.trustworthiness, q.ties) == (1, 1, 1)
    assert found.quality.preservation.value > 0.99 and found.quality.trustworthiness > 0.99
    assert "100% of points have more than 10 nearest neighbours, all of which count as kept" in found.caption()
    wrong = quality_of(features, np.random.default_rng(1).permutation(features), None, neighbour_graph(features, 15))
    assert wrong.preservation.value < 0.3 and wrong.trustworthiness < 0.7


def test_mixing_is_at_chance_for_strewn_labels_and_zero_for_separate_ones():
    features, group = clusters(600, groups=2)
    graph = neighbour_graph(features, 10)
    strewn = np.random.default_rng(0).permutation(np.repeat(["a", "b", "c"], [100, 200, 300]))
    each, chance = mixing(graph.indices, strewn)
    assert chance == pytest.approx(1 - (100 * 99 + 200 * 199 + 300 * 299) / (600 * 599))
    assert each.mean() == pytest.approx(chance, abs=0.03)
    assert mixing(graph.indices, group)[0].max() == 0


@pytest.mark.parametrize(
    ("sizes", "limit"), [((700, 200, 99, 1), 100), ((5, 5, 5), 7), ((10,), 3), ((3, 2), 5), ((1,) * 9, 4)]
)
def test_samples_keep_proportions(sizes, limit):
    strata = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)), sizes))
    chosen = stratified(strata, limit, seed=3)
    assert len(chosen) == len(set(chosen)) == min(limit, len(strata))
    taken = np.bincount(strata[chosen], minlength=len(sizes))
    exact = np.array(sizes) * limit / sum(sizes)
    assert (np.abs(taken - exact) <= 1).all()
    if limit >= len(sizes):
        assert taken.min() >= 1
    np.testing.assert_array_equal(chosen, stratified(strata, limit, seed=3))
    if len(strata) > limit:
        assert any((stratified(strata, limit, seed=s) != chosen).any() for s in range(5))


@pytest.mark.parametrize("kind", ["general", "specific"])
def test_points_are_those_of_the_table(tables, kind):
    table = tables["vq"]
    modalities = table.modalities if kind == "general" else ("third",)
    found = feature_points(table, 2, kind, modalities, clips="train")
    columns = found.columns
    assert set(columns["modality"]) == set(modalities) and set(columns["split"]) == {"train"}
    kept = {m: (table.general if kind == "general" else table.specific)(2, m) for m in modalities}
    rows = [c for c in kept[modalities[0]][0] if c in table.splits["train"]]
    assert len(found.features) == sum(table.masks[m][rows].sum() for m in modalities) and not found.note
    for i in range(0, len(found.features), 7):
        m, clip, step = (columns[name][i] for name in ("modality", "clip", "step"))
        where = list(kept[m][0]).index(clip)
        np.testing.assert_array_equal(found.features[i], kept[m][1][where, step])
        codes = {int(table.code(2, n)[clip, step]) for n in table.modalities if table.masks[n][clip, step]}
        assert columns["code"][i] == table.code(2, m)[clip, step]
        assert columns["agreement"][i] == (len(codes) == 1)
        event = table.labels["event"][clip, step]
        names = [name for name, here in zip(("bark", "horn", "rain"), event, strict=True) if here]
        assert columns["label"][i] == (" + ".join(names) or "background")
        speaker = table.labels["speaker"][clip]
        assert columns["speaker"][i] == ("" if speaker < 0 else ("ann", "bob", "cho", "dee")[speaker])


def test_sampling_keeps_places_in_all_modalities_and_says_so(tables):
    found = feature_points(tables["vq"], 1, limit=60)
    places = {m: set() for m in tables["vq"].modalities}
    for m, clip, step in zip(*(found.columns[n] for n in ("modality", "clip", "step")), strict=True):
        places[m].add((clip, step))
    assert places["first"] == places["second"] >= places["third"] and len(places["first"]) == 20
    assert found.note.startswith(f"{len(found.features)} of ") and "within each class of 'event'" in found.note
    made = project(found, "pca")
    assert found.note[1:] in made.caption()
    assert made.order["label"] == made.order["event"]
    assert made.order["label"][:4] == ("bark", "horn", "rain", "background")  # then sets of classes, in order of size
    assert all(" + " in name for name in made.order["label"][4:]) and set(made.order["label"]) >= set(
        found.columns["label"]
    )
    assert made.order["label"] == codebook_points(tables["vq"]).order["label"]


@pytest.mark.parametrize("quantizer", ["vq", "rvq", "fsq"])
def test_code_vectors_come_with_their_use(tables, quantizer):
    table = tables[quantizer]
    found = codebook_points(table, 1)
    book = table.codebook(1)
    assert found.features.shape == (book.shape[0] * book.shape[1], book.shape[2])
    for m in table.modalities:
        steps = int(table.masks[m].sum())
        assert found.columns[f"uses/{m}"].sum() == steps * book.shape[0]
    rows, general = table.general(1, "first")
    used = {tuple(v) for v in found.features[found.columns["uses/first"] > 0].round(4)}
    if book.shape[0] == 1:
        assert {tuple(v) for v in table.quantized(1, "first").reshape(-1, book.shape[2]).round(4)} == used
    assert general.shape[0] == len(rows) == 30
    assert project(found, "tsne").quality.trustworthiness > 0.6


def test_identity_codes_still_have_maps_of_features(tables):
    found = feature_points(tables["identity"], 1, limit=90)
    assert "code" not in found.columns and len(project(found, "pca").coordinates) == len(found.features)


def test_parquet_file_holds_points_and_caption(tmp_path, tables):
    import pandas
    from pyarrow import parquet

    found = project(feature_points(tables["vq"], 1, limit=90), "pca", dimensions=3)
    path = found.to_parquet(tmp_path / "points.parquet")
    read = pandas.read_parquet(path)
    assert {"x", "y", "z", "code", "layer", "modality", "label", "clip", "step"} <= set(read.columns)
    np.testing.assert_array_equal(read[["x", "y", "z"]].to_numpy(), found.coordinates)
    assert list(read["label"]) == list(found.columns["label"])
    about = json.loads(parquet.read_schema(path).metadata[b"srcid"])
    assert about["caption"] == found.caption() and about["params"] == found.params


def test_features_are_real_numbers_of_any_kind():
    numbers = np.random.default_rng(0).integers(0, 2, size=(60, 4))
    expected = project(numbers.astype(np.float32), "pca").coordinates
    for kind in (bool, np.int64, np.uint8, np.float16):
        np.testing.assert_allclose(project(numbers.astype(kind), "pca").coordinates, expected, atol=1e-5)
    for wrong in (numbers.astype(str), numbers * 1j, numbers.astype(object)):
        with pytest.raises(MapError, match=r"found features of type .*; need real numbers"):
            project(wrong, "pca")
    with pytest.raises(MapError, match="all rows of one length"):
        project([[1, 2], [3]], "pca")


def test_few_points_lower_what_was_not_asked_for_and_refuse_what_was(points):
    few = Points.of(points.features[:40])
    found = project(few, "tsne")
    assert found.params["perplexity"] == pytest.approx(38 / 3)
    assert "Perplexity lowered from 30 to 12.7, for there are 40 points" in found.caption()
    for method in ("tsne", "pca"):
        assert len(project(points.features[:5], method).coordinates) == 5
    cases = [
        ("found 40 points for perplexity 30, need more than 91; lower it to 13", dict(perplexity=30)),
        ("found 40 points for 40 neighbours", dict(method="umap", neighbours=40)),
        ("found the method 'mds', need one of tsne, umap, pca", dict(method="mds", dimensions=4)),
        ("found 4 dimensions, need 2 or 3", dict(method="mds", dimensions=4)),
        ("found 3 dimensions, need 2 for t-SNE; take umap or pca", dict(dimensions=3)),
    ]
    for words, change in cases:
        with pytest.raises(MapError, match=words):
            project(few, **change)
    with pytest.raises(MapError) as every:
        project(points.features[:4], "umap", dimensions=7)
    assert len(every.value.problems) == 2
    broken = points.features.copy()
    broken[5:8, 1] = np.nan
    with pytest.raises(MapError, match="3 of 110 points with NaN"):
        project(broken)
    with pytest.raises(MapError, match="all 110 points are the same"):
        project(np.ones((110, 3)))
    with pytest.raises(MapError, match="found 4 points, need 5 or more"):
        project(points.features[:4], "pca")
    with pytest.raises(MapError, match="need more than the 20 neighbours"):
        neighbour_graph(points.features[:20], 20)


def test_what_a_table_cannot_show_is_said(tables, write_table):
    codes = np.zeros((6, 4), int)
    bare = write_table({1: {"a": codes}}, codebook=np.zeros((1, 4)))
    cases = [
        ("has one code", lambda: codebook_points(bare)),
        ("no general features", lambda: feature_points(bare)),
        ("has no codebook", lambda: codebook_points(tables["identity"])),
        ("need general or specific", lambda: feature_points(tables["vq"], kind="raw")),
        ("some of first, second, third", lambda: feature_points(tables["vq"], modalities=("fourth",))),
        (r"found 2 layer\(s\)", lambda: feature_points(tables["vq"], layer=9)),
        ("columns of other lengths \\(code\\)", lambda: Points.of(np.zeros((3, 2)), code=np.zeros(2))),
        (r"features of shape \(3,\)", lambda: Points.of(np.zeros(3))),
    ]
    for words, call in cases:
        with pytest.raises((MapError, InspectionError), match=words):
            call()


def test_an_atlas_says_what_it_cannot_map_and_maps_the_rest(tables, tmp_path):
    atlas = Atlas(tables["identity"], limit=120, cache=tmp_path)
    assert isinstance(atlas.codebook(), Missing) and "has no codebook" in atlas.codebook().reason
    assert "not a layer 9" in atlas.features(9).reason
    found = atlas.features(1, method="pca")
    assert 100 < len(found.coordinates) <= 120  # some places are padded in one modality
    assert not found.cached and atlas.features(1, method="pca").cached
    assert "need more than" in atlas.features(1, perplexity=50).reason  # 120 points do not do
    only = atlas.features(1, "specific", ["second"], method="pca")
    assert only.title == "specific features of layer 1, second"
    table = quality_table([atlas.codebook(), found, only])
    assert list(table["n"]) == [len(found.coordinates), 40] and " ± " in table["of another modality"][0]
    assert table["of another modality"][1] == ""


def test_maps_of_an_atlas_show_the_same_places(tables, tmp_path):
    atlas = Atlas(tables["vq"], limit=90, cache=tmp_path)
    first, second = atlas.features(1, method="pca").columns, atlas.features(2, method="pca").columns
    places = [set(zip(c["modality"], c["clip"], c["step"], strict=True)) for c in (first, second)]
    assert places[0] == places[1] and 80 < len(places[0]) <= 90
    assert len(set(first["modality"][:12])) == 3  # in random order, so that no modality is drawn last


@pytest.mark.parametrize("quantizer", ["vq", "rvq", "fsq"])
def test_code_vectors_know_their_symbol_their_users_and_their_class(tables, quantizer):
    table = tables[quantizer]
    columns = codebook_points(table, 1).columns
    codes = {m: table.code(1, m) for m in table.modalities}
    if quantizer == "rvq":
        assert (columns["symbol"] == -1).all()  # a symbol joins two vectors
    for row in np.flatnonzero(columns["symbol"] >= 0)[:40]:
        counts = {m: int((values == columns["symbol"][row]).sum()) for m, values in codes.items()}
        assert counts == {m: columns[f"uses/{m}"][row] for m in counts}
        users = [m for m, count in counts.items() if count]
        expected = {0: "none", 1: users[0] if users else "", len(counts): "all"}.get(len(users), "several")
        assert columns["modality"][row] == expected
        assert (columns["label"][row] == "") == (not users)


def test_errors_of_quality_are_those_of_clips_drawn_again(points):
    """Against the bootstrap over clips, for points whose clips differ in how mixed they are."""
    features = points.features
    clips = np.arange(len(features)) // 5
    modality = np.where((clips % 3 == 0) & (np.arange(len(features)) % 2 == 0), "a", "b")
    graph = neighbour_graph(features, 10)
    found = quality_of(features, features[:, :2], modality, graph, clips=clips)
    other = (modality[graph.indices[:, : found.k]] != modality[:, None]).mean(axis=1)
    sums, sizes = np.bincount(clips, other), np.bincount(clips)
    again = np.random.default_rng(0).integers(len(sums), size=(4000, len(sums)))
    share = found.mixing["features"]
    half = 2.08 * np.std(sums[again].sum(1) / sizes[again].sum(1))  # Student's quantile for 22 clips
    assert (share.high - share.low) / 2 == pytest.approx(half, rel=0.12)
    assert not quality_of(features, features[:, :2], modality, graph).mixing["features"].known


@pytest.mark.parametrize("method", ["tsne", "umap", "pca"])
@pytest.mark.parametrize("scale", [1e20, 1e300, 1e-25])
def test_values_beyond_single_precision_are_refused_with_what_was_found(points, method, scale):
    features = points.features.astype(float) * scale
    low, high = f"{features.min():.3g}", f"{features.max():.3g}"
    with pytest.raises(MapError, match="beyond single precision; need values up to") as error:
        project(features, method)
    assert low in str(error.value) and high in str(error.value)


@pytest.mark.parametrize("scale", [1e12, 1e-12])
def test_values_of_any_usual_size_make_the_same_map(points, scale):
    found = project(points.features.astype(float) * scale, "tsne").quality
    assert found.preservation.value == pytest.approx(project(points, "tsne").quality.preservation.value, abs=0.1)


def test_a_map_says_what_it_shows(tables):
    found = project(feature_points(tables["vq"], 1, clips="test"), "pca")
    assert found.finding.startswith("General features of layer 1 (test clips): ")
    share = found.quality.mixing["features"]
    assert f"{100 * share.value:.1f} ± {50 * (share.high - share.low):.1f} % of a point's neighbours" in found.finding
    only = project(feature_points(tables["vq"], 1, modalities=["first"]), "pca")
    assert "PCA keeps" in only.finding and "(train, val and test clips)" in only.finding
