#!/usr/bin/env bash
# SC-Depth's versions side by side on the embedded phantom. V3's pseudo-depth is made by a colon2depth network, which has
# never seen depth of these clips; it is trained first if it is not there. Prints one table.
# VERSIONS="1 2 3", other presets of both methods and options of train.py (e.g. --max_steps 600) may be given.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
use_environment requirements.txt

versions="${VERSIONS:-1 3}"
prior="${PRIOR_PRESET:-phantom_quick}"
preset="${PRESET:-sc_depth_phantom_quick}"
dataroot="${DATAROOT:-datasets/phantom_quick}"

[ -f "checkpoints/$prior/report.json" ] || "$PYTHON" train.py --preset "$prior" --overwrite
case "$versions" in *3*) "$PYTHON" -m data.pseudo_depth --checkpoint "checkpoints/$prior" --video_root "$dataroot/video_train" ;; esac
runs=()
for version in $versions; do
  "$PYTHON" train.py --preset "$preset" --sc_version "$version" --name "${preset}_v$version" --overwrite "$@"
  runs+=("${preset}_v$version")
done
exec "$PYTHON" scripts/sc_depth_table.py checkpoints "$prior" "${runs[@]}"
