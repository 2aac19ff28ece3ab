#!/usr/bin/env bash
# Train on several machines, one process a GPU; docs/scaling.md says more. Arguments go to train.py.
#   by hand, on each machine:  NODES=2 NODE_RANK=0 HEAD=host:port bash scripts/train_multinode.sh --preset phantom
#   in SLURM's queue:          sbatch scripts/train_multinode.sh --preset phantom
# By hand NODE_RANK counts the machines from 0, HEAD is machine 0 with a free port, and PROCESSES is how many processes
# this machine starts, by default one a GPU. Options on sbatch's command line overrule these:
#SBATCH --job-name=endodepth
#SBATCH --nodes=2
#SBATCH --gpus-per-node=2
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=8
#SBATCH --signal=USR1@180
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

SAVED_STOP_CODE=75 # of train.py, when it was asked to stop and has saved
MAX_APART_S=60     # all processes end together, unless one of them died

fail() {
  echo "error: $*" >&2
  exit 2
}

# Processes of this machine join those of the others.
train_by_hand() {
  local missing=() name
  for name in NODES NODE_RANK HEAD; do [ -n "${!name:-}" ] || missing+=("$name"); done
  if [ ${#missing[@]} -gt 0 ]; then
    fail "${missing[*]} not set; call it on each machine as NODES=2 NODE_RANK=0 (then 1) HEAD=host:port bash" \
      "scripts/train_multinode.sh ..., or in SLURM's queue as sbatch scripts/train_multinode.sh ..."
  fi
  [[ "$NODES" =~ ^[1-9][0-9]*$ ]] || fail "NODES=$NODES: expected the number of machines"
  [[ "$NODE_RANK" =~ ^[0-9]+$ ]] && [ "$NODE_RANK" -lt "$NODES" ] ||
    fail "NODE_RANK=$NODE_RANK: machines count from 0 to $((NODES - 1))"
  [[ "$HEAD" =~ ^[^:]+:[0-9]+$ ]] || fail "HEAD=$HEAD: expected host:port of machine 0, such as gpu01:29500"
  local processes="${PROCESSES:-$("$PYTHON" -c 'import torch; print(torch.cuda.device_count())')}"
  [[ "$processes" =~ ^[1-9][0-9]*$ ]] || fail "$processes processes: there is no GPU here; PROCESSES=1 uses the CPU"
  exec "$PYTHON" -m torch.distributed.run --nnodes "$NODES" --node_rank "$NODE_RANK" --nproc_per_node "$processes" \
    --master_addr "${HEAD%:*}" --master_port "${HEAD##*:}" train.py "$@"
}

# Begins the run or goes on with it, and queues the job again when it saved before its time was up.
train_in_job() {
  local code=0 gpus="${SLURM_GPUS_ON_NODE:-}" tasks="${SLURM_NTASKS_PER_NODE:-}" arguments file
  if [ -n "$gpus" ] && [ -n "$tasks" ] && [ "$gpus" != "$tasks" ]; then
    fail "$tasks tasks and $gpus GPUs a machine; give sbatch the same --ntasks-per-node and --gpus-per-node"
  fi
  file="$(mktemp)"
  "$PYTHON" scripts/job_arguments.py "$@" >"$file" # a mistake in them ends the job here
  mapfile -d '' -t arguments <"$file"
  rm "$file"
  # A task that ends with a code must not end the others (--kill-on-bad-exit), which may be writing still; but when one
  # died, the others would wait for it for ever (--wait).
  srun --kill-on-bad-exit=0 --wait="$MAX_APART_S" ${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"} \
    "$PYTHON" train.py "${arguments[@]}" || code=$?
  if [ "$code" -eq "$SAVED_STOP_CODE" ]; then
    # Not reached after scancel, which ends this shell too: there must be no trap.
    echo "saved; job $SLURM_JOB_ID goes back to the queue" >&2
    scontrol requeue "$SLURM_JOB_ID"
  fi
  exit "$code"
}

scripts="$(dirname "${BASH_SOURCE[0]}")"
# sbatch runs a copy of this file, in a folder of its own.
[ -f "$scripts/environment.sh" ] || scripts="${SLURM_SUBMIT_DIR:-.}/scripts"
[ -f "$scripts/environment.sh" ] || fail "there is no $scripts/environment.sh; call sbatch in the repository's root"
source "$scripts/environment.sh"
use_environment requirements.txt

if [ -n "${SLURM_JOB_ID:-}" ] && [ -z "${HEAD:-}" ]; then
  train_in_job "$@"
else
  train_by_hand "$@"
fi
