"""Checked models: frozen, closed to unknown names, and telling all problems at once, in words."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from srcid.problems import ProblemsError
from srcid.values import plain, shorten


class ParameterError(ProblemsError):
    """Parameters that cannot be used; the message lists every problem at once."""


class Section(BaseModel):
    """Shared behaviour of all parameter models: frozen, closed to unknown names, and telling all problems at once.

    Types are strict: a number is no text that looks like one, and no truth value. Lists stand for tuples, as in JSON.

    Attributes:
        rules: what must hold between fields. A rule takes the fields that it names as arguments, and returns what
            is wrong with them, or an empty string. Every field of a section has a default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)
    rules: ClassVar[tuple[Callable[..., str], ...]] = ()

    @model_validator(mode="wrap")
    @classmethod
    def _obeys_rules(cls, given: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        """Apply the rules between valid fields, also where other fields are not valid."""
        if not isinstance(given, dict):
            return validate(given)
        problems: list[Any] = []
        values = {}
        for name, value in given.items():
            try:
                values[name] = _tuples(plain(value))
            except ValueError as error:
                wrong = PydanticCustomError("plain", "{wrong}", {"wrong": str(error)})
                problems.append({"type": wrong, "loc": (name,), "input": value})
        try:
            found = validate(values)
        except ValidationError as error:
            problems += error.errors(include_url=False)
        bad = {problem["loc"][0] for problem in problems}
        if bad:
            found = validate({name: value for name, value in values.items() if name not in bad})
        for rule in cls.rules:
            fields = inspect.signature(rule).parameters
            if bad.isdisjoint(fields) and (wrong := rule(**{name: getattr(found, name) for name in fields})):
                problems.append({"type": PydanticCustomError("rule", "{wrong}", {"wrong": wrong}), "input": given})
        if problems:
            raise ValidationError.from_exception_data(cls.__name__, problems)
        return found


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _tuples(entry) for name, entry in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def suggest(name: str, known: list[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for the closest of ``known``, or an empty string."""
    close = difflib.get_close_matches(name, known, n=1) if len(name) < 100 else []
    return f" (did you mean '{close[0]}'?)" if close else ""


def describe(error: ValidationError, known: list[str]) -> list[str]:
    """Say each problem of a pydantic error in one line: what was found, what is needed."""
    lines = []
    for item in error.errors():
        name = ".".join(shorten(part).strip("'") for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"'{name}' is no parameter{suggest(name, known)}")
        elif not name:
            lines.append(str(item["msg"]))
        else:
            lines.append(f"{name}={shorten(item['input'])}: {item['msg'][0].lower()}{item['msg'][1:]}")
    return lines
