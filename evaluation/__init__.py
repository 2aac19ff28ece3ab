"""What a trained method is worth: predictions at the frames' own size, scores, reports and result folders.

This package joins methods, data and metrics; nothing but ``train.py``, ``test.py``, ``python -m data.pseudo_depth`` and
``python -m util.register3d`` uses it.
"""
