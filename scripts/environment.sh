# Sourced by the other scripts: leaves in $PYTHON an interpreter that has what the given requirement files ask for.
# The active environment is used when it has everything; else .venv is made, once.

cd "$(dirname "${BASH_SOURCE[0]}")/.."

use_environment() {
  local files=("$@") active missing
  active="$(command -v python3 || command -v python || true)"
  if [ -z "$active" ]; then
    echo "error: Python 3.10 or newer is needed, but neither python3 nor python is on the PATH" >&2
    exit 2
  fi
  for PYTHON in "$active" .venv/bin/python; do
    # An interpreter that cannot even run the check (too old) prints nothing, but has nothing either.
    if [ -x "$PYTHON" ] && missing="$("$PYTHON" scripts/missing_requirements.py "${files[@]}" 2>/dev/null)" && [ -z "$missing" ]; then
      return
    fi
  done
  install_environment "$active" "${files[@]}"
}

install_environment() {
  local base="$1" pip_files=()
  shift
  if ! "$base" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    echo "error: Python 3.10 or newer is needed, $base is $("$base" --version)" >&2
    exit 2
  fi
  echo "installing into .venv (once; PyTorch with CUDA is about 5 GB): $("$base" scripts/missing_requirements.py "$@" | tr '\n' ' ')" >&2
  [ -x .venv/bin/python ] || "$base" -m venv .venv
  for file in "$@"; do pip_files+=(-r "$file"); done
  .venv/bin/python -m pip install --quiet --disable-pip-version-check "${pip_files[@]}" -c constraints.txt
  PYTHON=.venv/bin/python
}
