#!/usr/bin/env bash
# All tests, in the same environment as training. Arguments go to pytest.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
use_environment requirements.txt requirements-sfm.txt requirements-test.txt

"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check --quiet .
# Each test runs in one thread; a process may need some GiB.
exec "$PYTHON" -m pytest --numprocesses auto --maxprocesses 4 --dist loadgroup "$@"
