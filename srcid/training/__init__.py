"""Training a model: one step (``trainer``), the loop and resuming (``loop``), curves and the live view of both."""
