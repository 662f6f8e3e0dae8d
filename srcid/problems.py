"""One way to report problems: all of them at once, each as "found X, need Y, do Z"."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MOST_SHOWN = 50  # problems that a message lists


class ProblemsError(ValueError):
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

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in a notebook: the message, which says what to do, and not where it was raised."""
        return [f"{type(self).__name__}: {self}"]

    @classmethod
    def check(cls, heading: str, problems: Iterable[str]) -> None:
        """Raise if there are problems."""
        if found := [problem for problem in problems if problem]:
            raise cls(heading, found)
