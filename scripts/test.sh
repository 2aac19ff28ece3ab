#!/usr/bin/env bash
# Test. Without arguments: the newest run in checkpoints/, on its test split. Arguments go to test.py.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
use_environment requirements.txt

if [ $# -eq 0 ]; then
  newest="$(ls -t checkpoints/*/latest*.pth 2>/dev/null | head -n 1 || true)"
  if [ -z "$newest" ]; then
    echo "error: there is no run in checkpoints/ to test; train one first: bash scripts/train.sh" >&2
    exit 2
  fi
  set -- --name "$(basename "$(dirname "$newest")")"
fi
exec "$PYTHON" test.py "$@"
