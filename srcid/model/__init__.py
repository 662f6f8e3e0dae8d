"""The model: encoders, quantisers, mutual-information bounds, alignment losses, and the network made of them.

Names are imported from the module that defines them; ``network`` puts the parts together.
"""
