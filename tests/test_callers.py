"""No code without a caller: what only tests use, or nobody, is deleted."""

from pathlib import Path

from vulture import Vulture

ROOT = Path(__file__).resolve().parents[1]

# Called by a library, which looks for these names.
CALLED_BY_LIBRARIES = {
    "find_class",  # pickle
    "persistent_load",  # pickle
    "extra_repr",  # torch
    "_obeys_rules",  # pydantic
    "_render_traceback_",  # IPython
    "_files_are_those_of_the_rest",  # pydantic
    "vgg19",  # srcid.features.front_ends, by name
    "vggish",  # the same
    "bert",  # the same
    "from_rows",  # users, as docs/extending.md shows
}


def uncalled() -> dict[str, str]:
    """Functions, classes and methods that nothing in srcid, notebooks or benchmarks names, with their places."""
    walk = Vulture()
    walk.scavenge([str(ROOT / folder) for folder in ("srcid", "notebooks", "benchmarks")])
    kinds = ("function", "method", "class", "property")
    found = [
        item for item in walk.get_unused_code() if item.typ in kinds and item.filename.is_relative_to(ROOT / "srcid")
    ]
    assert len(walk.defined_funcs) > 300 and len(walk.defined_classes) > 50
    return {item.name: f"{item.filename.relative_to(ROOT)}:{item.first_lineno}" for item in found}


def test_everything_has_a_caller_outside_tests():
    found = uncalled()
    new = {name: place for name, place in found.items() if name not in CALLED_BY_LIBRARIES}
    assert new == {}, "only tests call these, or nobody: use or delete them"


def test_unknown_names_would_be_noticed(tmp_path):
    walk = Vulture()
    walk.scan("def used(): pass\ndef unused(): pass\nused()")
    assert [item.name for item in walk.get_unused_code()] == ["unused"]
