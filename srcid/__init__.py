"""SRCID workbench: unified discrete representations of several modalities.

Importing this package is cheap: every module imports torch, plotly and friends where it uses them.
"""

__version__ = "0.1.0"
