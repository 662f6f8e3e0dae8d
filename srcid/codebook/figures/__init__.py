"""Codes drawn: a result in, a plotly figure (or HTML tiles) out."""
