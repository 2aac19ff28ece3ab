#!/usr/bin/env bash
# What the video loss is worth: for each seed one training on synthetic pairs, then, from that start and with the same
# iterations on the same pairs, one training with masked gradient warping and one without. Prints the comparison.
# SEEDS="0 1 2" and other options of train.py (e.g. --niter_decay 4) may be given.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
use_environment requirements.txt

seeds="${SEEDS:-0 1 2}"
train() { "$PYTHON" train.py --preset phantom_quick --overwrite "$@"; }
no_video=(--lambda_video 0 --lambda_video_step 0)

for seed in $seeds; do
  start="ablation_start_s$seed"
  train --name "$start" --seed "$seed" "${no_video[@]}" --niter 12 --niter_decay 0 --no_report
  branch=(--seed "$seed" --load_pretrain "checkpoints/$start" --niter 2 --niter_decay 6 --video_start_epoch 0)
  train --name "ablation_without_s$seed" "${branch[@]}" "${no_video[@]}" "$@"
  train --name "ablation_with_s$seed" "${branch[@]}" "$@"
done
# shellcheck disable=SC2086
exec "$PYTHON" scripts/ablation_table.py checkpoints $seeds
