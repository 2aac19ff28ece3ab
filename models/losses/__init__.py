"""Losses: pure functions on plain tensors, modules only where weights are held. No networks, no options.

To add one: a file with the equation in the docstring, and a test that works a value out by hand. The weight of a term
belongs to the method, not to the loss.
"""
