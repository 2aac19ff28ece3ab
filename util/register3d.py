"""``python -m util.register3d``: register clouds to a surface. The program lives above ``util``, in ``evaluation``."""

import runpy

if __name__ == "__main__":
    runpy.run_module("evaluation.register3d", run_name="__main__")
