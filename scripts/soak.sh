#!/usr/bin/env bash
# Kill a tiny training 100 times at random moments and continue it; nothing may break, and the end must be that of a
# training that nothing befell, to the bit. Exit code 0 or 1. Arguments: --kills N, --seed N, --keep; see --help.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
use_environment requirements.txt

exec "$PYTHON" scripts/soak.py "$@"
