#!/usr/bin/env bash
# Write what testing needs of a run into one file, checkpoints/<name>/<name>.safetensors. Arguments: see --help.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
use_environment requirements.txt

exec "$PYTHON" scripts/export_weights.py "$@"
