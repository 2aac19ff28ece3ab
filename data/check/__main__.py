"""See ``data.check``."""

from data.check.command import main
from util.errors import run_cli

if __name__ == "__main__":
    run_cli(main)
