"""Estimates of information drawn: a result in, a plotly figure out."""
