"""How well a linear model reads a label from single steps, for the tests of generated data."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from srcid.features import FeatureStore


def linear_accuracy(
    store: FeatureStore,
    modality: str,
    label: str,
    pooled: bool = False,
    most: int = 4000,
    test: FeatureStore | None = None,
) -> float:
    """Share of test steps (those that show a class) whose class logistic regression reads correctly.

    ``pooled`` averages grids over their cells first; ``most`` bounds the training steps, for speed. ``test`` is
    another store whose test steps are read, the same one by default.
    """
    parts = {}
    for split, source in (("train", store), ("test", test or store)):
        values = source.labels[label]
        if values.ndim == 3:
            values = np.where(values.any(-1), values.argmax(-1), -1)
        elif values.ndim == 1:
            values = np.repeat(values[:, None], source.steps, axis=1)
        rows = source.splits[split]
        shown = values[rows] >= 0
        features = source.batch(rows)[modality][shown]
        if pooled and features.ndim == 4:
            features = features.mean(axis=(1, 2))
        parts[split] = features.reshape(len(features), -1)[:most], values[rows][shown][:most]
    scaler = StandardScaler().fit(parts["train"][0])
    # 60 iterations are plenty for a bound; tol keeps the solver from complaining
    model = LogisticRegression(C=0.02, tol=1e-2, max_iter=400).fit(
        scaler.transform(parts["train"][0]), parts["train"][1]
    )
    return model.score(scaler.transform(parts["test"][0]), parts["test"][1])
