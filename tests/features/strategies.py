"""Hypothesis strategies for what strangers and users may give: JSON values, names, and damage to a manifest."""

from hypothesis import strategies as st

NUMBERS = st.one_of(
    st.integers(), st.sampled_from([-1, 0, 1, 2, 99, 10**29, 2**62]), st.floats(allow_nan=False, allow_infinity=False)
)
TEXT = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", ".", "..", "../../secret", "x/../../../private/salaries", "/etc/passwd", "a\0b", "a\nb", "x" * 300, "CON"]
        + ["<i4", ">f4", "<f4", "|b1", "|O", "<U9", "features/sound.npy", "sound", "event", "train"]
    ),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=6,
)


@st.composite
def damaged(draw, content, most: int = 3):
    """A copy of JSON ``content`` in which up to ``most`` places are replaced, removed or added to."""
    import copy

    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, most))):
        place, step = content, None
        while isinstance(place, dict | list) and place and (step is None or draw(st.integers(0, 3))):
            parent = place
            step = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            place = parent[step]
        kind = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if kind == "remove":
            del parent[step]
        elif kind == "add" and isinstance(parent, dict):
            parent[draw(TEXT)] = place
        else:
            parent[step] = draw(JSON)
    return content
