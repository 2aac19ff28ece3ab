"""``python -m util.benchmark`` is another name of ``python -m benchmark``; ``util`` imports nothing from above it."""

import runpy

if __name__ == "__main__":
    runpy.run_module("benchmark", run_name="__main__")
