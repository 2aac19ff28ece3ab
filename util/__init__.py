"""What every method shares and none owns: files, errors, progress, metrics, pictures, pages, checkpoints, the engine.

Nothing here knows a method, a network or a dataset.
"""
