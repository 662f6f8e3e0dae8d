"""Values and names from outside: turned into plain JSON values or refused, in words, in one place."""

from __future__ import annotations

import math
import os
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

LONGEST_NAME = 200  # bytes; most file systems allow 255, and drafts have longer names than what they become
_DEEPEST, _LARGEST = 20, 2**63  # levels of lists and dicts; integers that every reader of JSON has
_RESERVED = re.compile(
    r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])(\..*)?", re.IGNORECASE
)  # devices of Windows, with any ending


class Word(str):
    """Text from a command line, which stands for a value of any type; other text is just text."""


def plain(value: Any, level: int = 0) -> Any:
    """Return a value as JSON has it: models and mappings as dicts, tuples and ranges as lists, paths as text.

    Numbers that are not finite stay: files of results have them.

    Raises:
        ValueError: it is none of these; the message says what was found.
    """
    if level > _DEEPEST:
        raise ValueError(f"found lists or dicts nested deeper than {_DEEPEST} levels")
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str):
        if not is_text(value):
            raise ValueError("found text that is no Unicode (a lone surrogate)")
        return value if type(value) is Word else str(value)
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:  # a number of NumPy or torch
        value = value.item()
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        if abs(value) >= _LARGEST:
            raise ValueError("found a whole number of 2^63 or more")
        return int(value)
    if isinstance(value, list | tuple | range):
        return [plain(entry, level + 1) for entry in value]
    if isinstance(value, Mapping):
        if wrong := next((key for key in value if not is_text(key)), None):
            raise ValueError(f"found the key {shorten(wrong)}; need text")
        return {str(key): plain(entry, level + 1) for key, entry in value.items()}
    raise ValueError(f"found a {type(value).__name__}; need text, a number, true or false, a list or a dict of such")


def finite(value: Any) -> bool:
    """Whether a plain value has only numbers that are finite."""
    if isinstance(value, float):
        return math.isfinite(value)
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return all(map(finite, parts))


def shorten(value: Any, most: int = 60) -> str:
    """Return a value as messages show it, with what stands in the middle left out where it is long."""
    try:
        text = repr(str(value) if isinstance(value, str) else value)
    except Exception as error:  # a number of thousands of digits, or a foreign object
        text = f"a {type(value).__name__} ({type(error).__name__})"
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= most else f"{text[: most - 20]}...{text[-12:]}"


def duration(seconds: float) -> str:
    """Return seconds as ``45 s``, ``3 min 05 s`` or ``2 h 10 min``."""
    minutes, seconds = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


def normal_name(name: Any, what: str) -> str:
    """Return a name as it is kept: in Unicode's composed form, so that é is é however it was typed.

    A name becomes that of a file or folder: letters, digits and ``. _ + = - { }`` and 200 bytes at most; it does not
    begin with a point or a hyphen, end in a point, or name a device of Windows.

    Args:
        what: the kind of thing that is to have it, with its article.

    Raises:
        ValueError: it cannot be one; the message is the whole rule.
    """
    found = unicodedata.normalize("NFC", name) if isinstance(name, str) else ""
    fits = re.fullmatch(r"[\w{][\w.+={}-]*", found) and is_text(found) and len(found.encode()) <= LONGEST_NAME
    if not fits or found.endswith(".") or reserved(found):
        raise ValueError(
            f"{shorten(name)} cannot name {what}; need letters, digits and . _ + = - {{ }}, {LONGEST_NAME} bytes "
            "at most, a letter or digit first, no point last, and none of Windows' own (CON, NUL, COM1, ...)"
        )
    return found


def reserved(name: str) -> bool:
    """Whether Windows keeps a name for a device, whatever its ending."""
    return _RESERVED.fullmatch(name) is not None


def is_text(value: Any) -> bool:
    """Whether a value is text that can be written: no half of a surrogate pair."""
    try:
        return isinstance(value, str) and bool(value.encode() or True)
    except UnicodeEncodeError:
        return False
