"""Optical flow, warping, cameras and poses: the one home of pixel and direction conventions (``docs/conventions.md``).

To add a flow estimator: a class in ``flow_estimators.py`` with ``name``, ``fingerprint`` and ``__call__``, and its
entry in ``ESTIMATORS`` there.
"""
