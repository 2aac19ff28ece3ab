"""Architectures only: modules in, tensors out. No options, no losses, no data.

To add one: a file named after its family, its small blocks first, the whole network after them, the remapping of
published weights last; a test that holds its published keys, shapes and parameter count.
"""
