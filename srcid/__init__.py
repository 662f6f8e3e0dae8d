"""SRCID workbench: unified discrete representations of several modalities.

:func:`run` trains, encodes and scores. Importing this package is cheap: every module imports torch, plotly and friends
where it uses them.
"""

from srcid.pipeline import run

__all__ = ["run"]
__version__ = "0.1.0"
