"""Scores and comparisons drawn: a result in, a plotly figure out."""
