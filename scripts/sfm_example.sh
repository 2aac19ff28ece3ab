#!/usr/bin/env bash
# From frames of one clip to dense depth: SfM, training, test, point clouds, results page.
#   bash scripts/sfm_example.sh                                     the published example clip, if it is there
#   bash scripts/sfm_example.sh FRAMES_OR_FILM --intrinsics FILE    any other one; options go to data.run_sfm
# NAME=..., PRESET=... and TRAIN_FLAGS="--niter 5" may be given.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
use_environment requirements.txt requirements-sfm.txt

samples="${ENDODEPTH_SAMPLES:-../shared/data}"
if [ $# -eq 0 ]; then
  [ -d "$samples/sinus_sfm" ] || { echo "error: there is no $samples/sinus_sfm; give a folder of frames or a film" >&2; exit 2; }
  set -- "$samples/sinus_sfm" --mask "$samples/sinus_sfm/undistorted_mask.bmp"
fi
name="${NAME:-sfm_depth_example}"
clip="datasets/sfm/$name"
results="results/$name/sfm_test_latest"

[ -f "$clip/structure.ply" ] || "$PYTHON" -m data.run_sfm "$@" --out "$clip"
"$PYTHON" train.py --preset "${PRESET:-sfm_depth_example}" --name "$name" --sfm_root "$clip" --overwrite ${TRAIN_FLAGS:-}
"$PYTHON" test.py --name "$name" --save_ply --save_npy
"$PYTHON" scripts/sfm_cloud.py "$results" "$results/cloud.png"
echo "SfM $clip/report/index.html   results $results/index.html   clouds $results/ply/"
