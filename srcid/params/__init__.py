"""Every knob of a run: one flat, frozen, validated set of parameters, and the presets that name choices of them.

Names are flat, so that a notebook's parameter cell, ``papermill -p``, the command line and ``params.json`` all
say the same word for the same thing. ``fields`` has them in sections, for the reader and for functions that need only
one of them; :class:`Params` is all of them together.
"""

from srcid.params.fields import LIBRARY_QUANTIZERS, EvaluationParams, ModelParams, QuantizerParams
from srcid.params.presets import ABLATIONS, PRESETS, PUBLISHED_ROWS, resolve
from srcid.params.rules import Params
from srcid.params.section import ParameterError, Section, describe, suggest

__all__ = [
    "ABLATIONS", "LIBRARY_QUANTIZERS", "PRESETS", "PUBLISHED_ROWS", "EvaluationParams", "ModelParams",
    "ParameterError", "Params", "QuantizerParams", "Section", "describe", "resolve", "suggest",
]  # fmt: skip
