"""What structure from motion (SfM) has found of video: cameras and sparse points, made ready to learn from.

``clip.py`` is what both readers (``published.py``, ``colmap.py``) give and ``published_writer.py`` writes; ``find.py``
finds the clips of a folder. From a clip follow who sees which point (``visibility.py``), how far it is trusted
(``confidence.py``), what is left out (``outliers.py``), and its maps on the pixel grid (``drawing.py``).
"""
