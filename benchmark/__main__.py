"""``python -m benchmark``, or ``python -m util.benchmark``: what training, inference and loading cost here."""

from benchmark.main import main
from util.errors import run_cli

if __name__ == "__main__":
    run_cli(main)
