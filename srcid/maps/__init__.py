"""Where features and codes lie: t-SNE, UMAP and PCA with their quality, and maps that are linked point by point."""
