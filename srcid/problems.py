"""One way to report problems: all of them at once, each as "found X, need Y, do Z"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MOST_SHOWN = 50  # problems that a message lists


class PlainError(Exception):
    """An error whose message says what to do: a notebook shows that, and not where it was raised."""

    def _render_traceback_(self) -> list[str]:
        """What IPython shows."""
        return [f"{type(self).__name__}: {self}"]


class ProblemsError(PlainError, ValueError):
    """What cannot be done, and everything that stands against it.

    A concern (a store, a run, an estimate) has one subclass of its own. Whoever wants the single problems reads
    ``problems``; nobody parses the message.

    Attributes:
        heading: what was to be done, as the beginning of a sentence.
        problems: one sentence each.
    """

    def __init__(self, heading: str, problems: Sequence[str] | str = ()) -> None:
        self.heading = heading
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        more = len(self.problems) - MOST_SHOWN
        shown = self.problems[:MOST_SHOWN] + ((f"and {more:,} more",) if more > 0 else ())
        super().__init__("\n  - ".join([heading, *shown]))

    @classmethod
    def check(cls, heading: str, problems: Iterable[str]) -> None:
        """Raise if there are problems."""
        if found := [problem for problem in problems if problem]:
            raise cls(heading, found)
