"""Parameters: presets resolve, everything wrong is said at once, and each message says what to write instead."""

import inspect
import itertools

import pytest
from pydantic import Field, ValidationError

from srcid.features import DigitsParams, SyntheticParams
from srcid.params import PRESETS, PUBLISHED_ROWS, ParameterError, Params, Section, describe, resolve, suggest


def refusal(**changes):
    """The problems of ``resolve(**changes)``, one each."""
    with pytest.raises(ParameterError) as caught:
        resolve(**changes)
    heading, *problems = str(caught.value).split("\n  - ")
    assert heading == "invalid parameters:"
    return problems


def test_presets_resolve_alone_and_in_pairs_and_the_later_wins():
    refused = set()
    for names in [*itertools.product(PRESETS), *itertools.permutations(PRESETS, 2)]:
        try:
            params = resolve("+".join(names))
        except ParameterError:
            refused.add(names)
            continue
        for field, value in PRESETS[names[-1]].items():
            assert getattr(params, field) == value
        for field, value in PRESETS[names[0]].items():
            assert getattr(params, field) == PRESETS[names[-1]].get(field, value)
    # a second layer's term cannot be switched off where there is no second layer
    single = ("dcid", "cmcm", "turn", "codis", "codaar")
    expected = {pair for one in single for pair in itertools.permutations(("no-club2", one))}
    # a rival cannot be given layers, losses or quantisers that it does not have
    for name, given in PRESETS.items():
        lacks = ("club_weight", "specific_rate")
        if given.get("layers", 1) > 1 or any(map(given.get, lacks)) or given.get("quantizer", "vq") != "vq":
            expected |= {("turn", name), ("codis", name)}
        if given.get("club_weight") and given.get("club_input") == "quantized":
            expected.add(("codaar", name))
    assert refused == expected


def test_every_departure_of_the_published_code_is_an_ablation_of_its_own():
    apart = [name for names in PUBLISHED_ROWS.values() for name in names]
    optimisation = {"clip", "clip_norm", "warm_start", "warm_threshold"}
    scale = {"lstm_modalities", "residual_norm", "club_weight"}
    assert len(apart) == len(set(apart)) and set(apart) == PRESETS["published"].keys() - optimisation - scale


def test_presets_name_parameters_only():
    assert len(PRESETS) >= 6
    for values in PRESETS.values():
        assert set(values) <= set(Params.model_fields)


def test_overrides_win_and_params_json_is_read_back():
    params = resolve("paper+dcid", beta=0.5, club_off=[1], lstm_modalities=["text", "sound"])
    assert (params.layers, params.beta, params.club_off) == (1, 0.5, (1,))
    assert Params.model_validate_json(params.model_dump_json()) == params
    assert Params(**params.model_dump(mode="json")) == params
    with pytest.raises(ValidationError, match="frozen"):
        params.beta = 1.0


def test_every_parameter_has_a_default_and_a_description():
    assert len(Params.model_fields) > 60
    for name, field in Params.model_fields.items():
        assert not field.is_required() and field.description, name


def test_everything_wrong_is_said_at_once():
    said = refusal(
        preset="demmo+srcid", bta=1, lr=0, seed="x", padding="some", dim=30, heads=4, club_off=(1, 3), layers=2,
        warm_min=0.5, warm_max=0.4, lstm_dim=7, grid_channels=(8, 0), fsq_levels=(8, 1), warm_threshold=2,
        warm_start="settled",
    )  # fmt: skip
    assert sorted(said) == sorted([
        f"preset 'demmo' is unknown (did you mean 'demo'?); there are {', '.join(PRESETS)}",
        "padding='some': input should be 'masked' or 'included'",
        "grid_channels.1=0: input should be greater than 0",
        "fsq_levels.1=1: input should be greater than or equal to 2",
        "lr=0: input should be greater than 0",
        "seed='x': input should be a valid integer",
        "'bta' is no parameter (did you mean 'beta'?)",
        "dim=30 is not divisible by heads=4",
        "lstm_dim=7 must be even (two directions)",
        "warm_min=0.5 lies above warm_max=0.4",
        "warm_threshold=2.0 is a share of the peak; it must lie below 1",
        "club_off names layers [3]; the model has layers 1 to 2",
    ])  # fmt: skip


def test_rules_leave_out_fields_that_are_wrong_themselves():
    # the default of dim is no multiple of 3, and nobody asked for it
    assert resolve().dim % 3
    assert refusal(dim="wide", heads=3) == ["dim='wide': input should be a valid integer"]
    assert refusal(layers=0, club_off=(5,)) == ["layers=0: input should be greater than or equal to 1"]


def test_rules_read_fields_that_there_are():
    for section, count in ((Params, 20), (SyntheticParams, 2), (DigitsParams, 1)):
        assert len(section.rules) == count
        for rule in section.rules:
            assert set(inspect.signature(rule).parameters) <= set(section.model_fields)
            assert rule(**{name: getattr(section(), name) for name in inspect.signature(rule).parameters}) == ""


@pytest.mark.parametrize("changes", [dict(warm_min=0.9, warm_max=0.1), dict(warm_start="settled", warm_threshold=1.5)])
def test_how_layers_open_matters_only_where_there_are_layers_to_open(changes):
    assert len(refusal(**changes)) == 1
    assert resolve("demo+dcid", **changes).layers == 1
    assert resolve("demo", **{**changes, "warm_start": "off"}).layers == 2


@pytest.mark.parametrize(
    "changes", [dict(grid_channels=(0, 8)), dict(grid_channels=(8, -1)), dict(fsq_levels=(1,)), dict(lr=float("nan"))]
)
def test_values_that_no_model_can_have_are_refused(changes):
    (name,) = changes
    (problem,) = refusal(**changes)
    assert problem.startswith(name)


def test_data_options_tell_their_rules_beside_their_ranges():
    with pytest.raises(ValidationError) as caught:
        SyntheticParams(shapes={"a": (2,), "b": (2, 2)}, noise=-1, shortest=3, steps=2, trian=5)
    assert describe(caught.value, list(SyntheticParams.model_fields)) == [
        "noise=-1: input should be greater than or equal to 0",
        "'trian' is no parameter (did you mean 'train'?)",
        "shape of b is (2, 2), need (F,) or (H, W, F) with positive numbers",
        "shortest=3 exceeds steps=2",
    ]


def test_a_section_takes_an_instance_of_itself_and_nothing_strange():
    class Walk(Section):
        rules = (lambda first, last: "it goes back" if first > last else "",)
        first: int = Field(0)
        last: int = Field(1)

    assert Walk.model_validate(Walk(first=1)) == Walk(first=1)
    with pytest.raises(ValidationError, match="it goes back"):
        Walk(first=2)
    with pytest.raises(ValidationError, match="dictionary or instance"):
        Walk.model_validate("first")


def test_suggestions_are_for_names_that_are_close():
    known = list(Params.model_fields)
    assert suggest("codebok_size", known) == " (did you mean 'codebook_size'?)"
    assert suggest("zzz", known) == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(device="nonsense"), "device='nonsense'"),
        (dict(club_hidden=10**12), "club_hidden=1000000000000: input should be less than or equal to 65536"),
        (dict(fsq_levels=(2**33,)), "less than or equal to 65536"),
        (dict(fsq_levels=(60_000, 60_000)), "make 3.6e\\+09 codes, need fewer than 2.15e\\+09"),
        (dict(threads=10**9), "threads=1000000000"),
        (dict(batch_size=10**12), "batch_size=1000000000000"),
    ],
)
def test_sizes_that_no_machine_has_are_refused(changes, message):
    with pytest.raises(ParameterError, match=message):
        resolve(**changes)
