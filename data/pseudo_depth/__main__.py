"""``python -m data.pseudo_depth``: make pseudo-depth. The program joins networks and data, so it lives above both."""

import runpy

if __name__ == "__main__":
    runpy.run_module("evaluation.make_pseudo_depth", run_name="__main__")
