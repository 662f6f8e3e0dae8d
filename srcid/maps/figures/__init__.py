"""Maps drawn: a projection in, a plotly figure out."""
