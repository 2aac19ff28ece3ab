"""What users say on the command line: groups shared by all methods, presets in ``presets/*.yaml``.

An option is declared by the class that reads it (``add_options``); this package holds what several share and puts the
groups together. Order of precedence: command line, preset, the method's own published defaults.
"""
