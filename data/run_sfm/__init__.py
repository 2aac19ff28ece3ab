"""Structure from motion (SfM) of a user's frames or film: ``python -m data.run_sfm VIDEO_OR_FOLDER --out DIR``.

``frames.py`` numbers the frames and finds their view, ``camera.py`` finds their camera and takes distortion out,
``reconstruct.py`` has COLMAP find cameras and points, in a process of its own (``process.py``), ``export.py`` turns its
model into an ``SfmClip``, ``verdict.py`` judges whether that is fit to learn from, and ``report.py`` writes numbers,
pictures and a page. ``command.py`` does them in turn.
"""
