"""Pickles from strangers: arrays come out, and nothing else ever happens."""

import contextlib
import os
import pickle
import struct
from collections import OrderedDict

import numpy as np
import pytest

from srcid.features.published import PickleRefused, load_arrays


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_of_every_protocol(protocol):
    values = {
        "big endian": np.arange(6, dtype=">f4").reshape(2, 3),
        "fortran": np.asfortranarray(np.random.default_rng(0).random((3, 2))),
        "empty": np.zeros((0, 128)),
        "bool": np.array([True, False]),
        "half": np.arange(3, dtype=np.float16),
        "scalar": np.float32(2.5),
        "count": np.int64(-3),
    }
    found = load_arrays(pickle.dumps({**values, "list": [1, 0, 1], "number": 4}, protocol))
    for name, value in values.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == value.dtype
    assert found["list"].tolist() == [1, 0, 1] and found["number"] == 4
    np.testing.assert_array_equal(load_arrays(pickle.dumps(values["fortran"], protocol)), values["fortran"])


def test_pickles_of_older_numpy_and_python():
    value = np.arange(5.0)
    now = pickle.dumps(value, 2)
    old = now.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert old != now
    np.testing.assert_array_equal(load_arrays(old), value)
    # as Python 2 wrote it: the bytes of the array are a str
    two = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"U\x08" + np.array([1.5, -2], "<f4").tobytes() + b"tb."
    )
    assert load_arrays(two).tolist() == [1.5, -2]


class Call:
    """Pickles as the call of a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def canary(tmp_path):
    return tmp_path / "ran"


MALICIOUS = {
    "system": lambda mark: pickle.dumps(Call(os.system, f"touch {mark}")),
    "system, protocol 0": lambda mark: pickle.dumps(Call(os.system, f"touch {mark}"), 0),
    "inside a dict": lambda mark: pickle.dumps({"audio": np.zeros(3), "more": Call(open, str(mark), "w")}),
    "eval": lambda mark: pickle.dumps(Call(eval, f"open({str(mark)!r}, 'w')")),
    "inst": lambda mark: b"(S'" + str(mark).encode() + b"'\nS'w'\ni__builtin__\nopen\n.",
    "obj": lambda mark: b"(c__builtin__\nopen\nS'" + str(mark).encode() + b"'\nS'w'\no.",
    "newobj": lambda mark: b"\x80\x02cpathlib\nPath\nU" + bytes([len(str(mark))]) + str(mark).encode() + b"\x85\x81.",
    "attribute of numpy": lambda mark: b"cnumpy.f2py\nsys.modules\n.",
    "numpy's loader": lambda mark: pickle.dumps(Call(np.load, str(mark))),
    "numpy by another door": lambda mark: b"cnumpy\nfromfile\n(S'" + str(mark).encode() + b"'\ntR.",
    "altering a function": lambda mark: b"cnumpy\ndtype\n(N}S'_call'\nI1\nstb.",
    "an outside object": lambda mark: b"S'x'\nQ.",
    "an extension": lambda mark: b"\x80\x02\x82\x01.",
}


@pytest.mark.parametrize("kind", MALICIOUS)
def test_code_is_refused_and_never_run(kind, tmp_path):
    mark = canary(tmp_path)
    with pytest.raises(PickleRefused):
        load_arrays(MALICIOUS[kind](mark))
    assert not mark.exists()
    assert load_arrays(pickle.dumps(np.ones(2))).tolist() == [1, 1]  # nothing stuck


def test_the_canary_would_be_seen(tmp_path):
    pickle.loads(MALICIOUS["system"](canary(tmp_path)))
    assert canary(tmp_path).exists()


@pytest.mark.parametrize(
    "data",
    {
        "memo": b"Nr\xff\xff\xff\x7f.",
        "bytearray": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b"x.",
        "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x.",
        "shape": pickle.dumps(np.zeros(4), 4).replace(b"K\x04\x85", b"J\xff\xff\xff\x7f\x85"),
        "operations": b"]" + b"Na" * 30_000 + b".",
    }.items(),
    ids=lambda pair: pair[0],
)
def test_few_bytes_cannot_ask_for_much(data):
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(PickleRefused):
        load_arrays(data[1])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (np.array(["a", "b"]), "real numbers"),
        (np.array([{}, 1], object), "type"),
        (np.zeros(2, [("a", "f4"), ("b", "i8")]), "type"),
        (np.zeros(2, complex), "real numbers"),
        ("text", "array of numbers"),
        ({"audio": "text"}, "array of numbers"),
        ({1: np.zeros(2)}, "keys"),
        ([[1, 2], [3]], "array of numbers"),
        ([], "array of numbers"),
        (None, "array of numbers"),
        (OrderedDict(a=np.zeros(2)), "OrderedDict"),
    ],
)
def test_other_than_numbers_is_refused(value, said):
    with pytest.raises(PickleRefused, match=said):
        load_arrays(pickle.dumps(value))


def test_damaged_pickles_are_refused():
    whole = pickle.dumps({"audio": np.arange(40.0)})
    for cut in range(len(whole)):
        with pytest.raises(PickleRefused):
            load_arrays(whole[:cut])
    draw = np.random.default_rng(0)
    for _ in range(300):
        spoilt = bytearray(whole)
        spoilt[draw.integers(len(spoilt))] ^= 1 << draw.integers(8)
        with contextlib.suppress(PickleRefused):  # or other numbers came out
            load_arrays(bytes(spoilt))
