"""``python -m util.benchmark``: what training, inference and loading cost, beside the published system's schedule.

``cases`` says what is measured and ``runner`` does it, in the processes of ``workers``; ``timing`` lets cases take
turns, ``report`` and ``tables`` show what came out. Nothing of the program imports this package but that command, and
nothing of ``published`` is used in training.

A new optimisation is an entry in ``cases.CHANGES``, and whatever ``runner`` needs to do without it; a new layer is one
in ``cases.OUR_LAYERS``, with a title, and in ``networks.PLAIN``.
"""
