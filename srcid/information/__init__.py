"""What general and specific features share: bounds on mutual information, their calibration, and leakage.

Names are imported from the module that defines them, so that what only reads estimates does not load torch.
"""
