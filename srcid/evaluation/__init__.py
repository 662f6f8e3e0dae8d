"""What codes are good for: frozen probes, retrieval, and the tables and claims that compare runs.

Everything here reads a code table (:class:`~srcid.evaluation.representation.Codes`), never a model. Names are imported
from the module that defines them, so that what compares scores does not load torch.
"""
