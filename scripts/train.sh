#!/usr/bin/env bash
# Train. Without arguments: the embedded phantom (a GPU: preset phantom, else phantom_quick). Arguments go to train.py.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
use_environment requirements.txt

if [ $# -eq 0 ]; then
  preset="$("$PYTHON" -c 'import torch; print("phantom" if torch.cuda.is_available() else "phantom_quick")')"
  set -- --preset "$preset"
fi
exec "$PYTHON" train.py "$@"
