"""`load_arrays`: NumPy arrays out of a pickle from strangers, and nothing else.

A pickle is a small program that may call anything. Three things keep it from doing so:

- its operations are listed first, without running any, and only those that spell plain values are allowed; sizes
  it declares must fit the bytes that are there, so that a few bytes cannot ask for gigabytes;
- every name it may look up leads to a function of this module. NumPy itself is never called by the pickle: what
  it says of an array (type, shape, bytes) is noted down, compared and then made into an array here;
- only real numbers of fixed width become arrays: no objects, no structures, no text.

Pickles of protocol 0 to 5, of Python 2 and 3 and of NumPy 1 and 2 are read.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from srcid.problems import ProblemsError

MAX_OPERATIONS = 20_000
"""Operations of one pickle; one array takes about forty."""

_OPERATIONS = frozenset((
    "PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK",
    "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
    "TUPLE", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "LIST", "EMPTY_LIST", "APPEND", "APPENDS",
    "DICT", "EMPTY_DICT", "SETITEM", "SETITEMS",
    "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET",
    "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD",
))  # fmt: skip
_NUMBER = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])|\?")


class PickleRefused(ProblemsError):
    """A pickle that holds, or asks for, anything but arrays of numbers."""


def load_arrays(data: bytes) -> np.ndarray | dict[str, np.ndarray]:
    """Return the array, or the arrays by name, that a pickle holds. Numbers and lists of numbers count as arrays.

    Raises:
        PickleRefused: anything else is in it, it names a function, or it is damaged.
    """
    _scan(data)
    try:
        found = _Unpickler(io.BytesIO(data), encoding="latin1").load()
    except PickleRefused:
        raise
    except Exception as error:  # a damaged pickle fails in any way it likes
        raise PickleRefused(f"the pickle is damaged ({type(error).__name__}: {error})") from None
    if isinstance(found, dict):
        if not all(isinstance(name, str) for name in found):
            raise PickleRefused("found a dict whose keys are not all text; need names of arrays")
        return {name: _array(value) for name, value in found.items()}
    return _array(found)


def _scan(data: bytes) -> None:
    """Refuse a pickle by its operations, none of which is run."""
    try:
        for number, (operation, argument, _) in enumerate(pickletools.genops(data)):
            if operation.name not in _OPERATIONS:
                raise PickleRefused(f"found the operation {operation.name}, which no array needs")
            if operation.name in ("PUT", "BINPUT", "LONG_BINPUT") and argument > MAX_OPERATIONS:
                raise PickleRefused(f"found memo number {argument}, need at most {MAX_OPERATIONS}")
            if number > MAX_OPERATIONS:
                raise PickleRefused(f"found more than {MAX_OPERATIONS} operations; an array takes about forty")
    except PickleRefused:
        raise
    except Exception as error:
        raise PickleRefused(f"the pickle is damaged ({error})") from None


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        make = _NAMES.get((module.replace("numpy._core", "numpy.core"), name))
        if make is None:
            raise PickleRefused(f"it asks for {module}.{name}, and nothing but arrays is read")
        return make

    def persistent_load(self, pid: Any) -> Any:
        raise PickleRefused("it refers to objects outside itself")


class _Function:
    """What a pickle gets for a name it may look up: it can be called, and not be altered."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]):
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise PickleRefused("it alters a function")


class _Type:
    """Notes what a pickle says of a dtype: ``numpy.dtype("f4")``, then the byte order as its state."""

    __slots__ = ("code", "order")

    def __init__(self, code: Any, *_: Any):
        self.code, self.order = code, ""

    def __setstate__(self, state: Any) -> None:
        self.order = state[1] if isinstance(state, tuple) and len(state) > 1 else None

    def dtype(self) -> np.dtype:
        code = str(self.code)
        code = str(self.order or "") + code if code[:1] not in "<>|=" else code
        if not _NUMBER.fullmatch(code):
            raise PickleRefused(f"found values of type {code!r}, need real numbers")
        return np.dtype(code)


class _Array:
    """Notes what a pickle says of an array."""

    __slots__ = ("data", "fortran", "shape", "type")

    def __init__(self, type_: Any = None, shape: Any = None, data: Any = None, fortran: Any = False):
        self.type, self.shape, self.data, self.fortran = type_, shape, data, fortran

    def __setstate__(self, state: Any) -> None:
        _, self.shape, self.type, self.fortran, self.data = state

    def array(self) -> np.ndarray:
        if not isinstance(self.type, _Type):
            raise PickleRefused("found an array without a type")
        dtype = self.type.dtype()
        data = self.data.encode("latin1") if isinstance(self.data, str) else self.data  # text in Python 2's pickles
        shape = self.shape
        if not isinstance(data, (bytes, bytearray)) or not isinstance(shape, tuple):
            raise PickleRefused("found an array without bytes or shape")
        if len(shape) > 8 or not all(isinstance(n, int) and 0 <= n < 2**40 for n in shape):
            raise PickleRefused(f"found an array of shape {shape}")
        if math.prod(shape) * dtype.itemsize != len(data):
            raise PickleRefused(f"found {len(data)} bytes for an array of shape {shape} and type {dtype}")
        return np.frombuffer(data, dtype).reshape(shape, order="F" if self.fortran else "C")


def _encode(text: Any, encoding: Any) -> bytes:
    """Stand in for ``_codecs.encode``, by which protocols 0 to 2 spell bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise PickleRefused("it encodes something that is not bytes")
    return text.encode("latin1")


def _array(value: Any) -> np.ndarray:
    if isinstance(value, _Array):
        return value.array()
    if isinstance(value, (bool, int, float)):
        return np.array(value, float)
    if isinstance(value, (list, tuple)) and value and all(isinstance(v, (bool, int, float)) for v in value):
        return np.array(value, float)
    raise PickleRefused(f"found {type(value).__name__.strip('_').lower()}, need an array of numbers")


_NAMES: dict[tuple[str, str], _Function] = {
    ("numpy.core.multiarray", "_reconstruct"): _Function(lambda kind, shape, code: _Array()),
    ("numpy.core.multiarray", "scalar"): _Function(lambda type_, data=None: _Array(type_, (), data)),
    ("numpy.core.numeric", "_frombuffer"): _Function(
        lambda data, type_, shape, order: _Array(type_, shape, data, order == "F")
    ),
    ("numpy", "ndarray"): _Function(lambda *_: _Array()),
    ("numpy", "dtype"): _Function(_Type),
    ("_codecs", "encode"): _Function(_encode),
    ("__builtin__", "bytes"): _Function(lambda *nothing: b""),
    ("builtins", "bytes"): _Function(lambda *nothing: b""),
}
