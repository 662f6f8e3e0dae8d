"""Where features and codes lie: t-SNE, UMAP and PCA with their quality, and maps that are linked point by point."""

from srcid.maps.atlas import Atlas, Missing, quality_table
from srcid.maps.graph import Graph, Quality, mixing, neighbour_graph, quality_of
from srcid.maps.linking import Choice, Links
from srcid.maps.points import MapError, Points, codebook_points, feature_points, stratified
from srcid.maps.projection import Projection, project

__all__ = [
    "Atlas", "Choice", "Graph", "Links", "MapError", "Missing", "Points", "Projection", "Quality", "codebook_points",
    "feature_points", "mixing", "neighbour_graph", "project", "quality_of", "quality_table", "stratified",
]  # fmt: skip
