#!/usr/bin/env bash
# Train on a SLURM cluster:  [GPUS=8] [GPUS_PER_NODE=8] tools/slurm_train.sh PARTITION JOB CONFIG WORK_DIR [options]
# CPUS_PER_TASK (5) and SRUN_ARGS (none) go to srun.
set -euo pipefail
[[ $# -ge 4 && ${GPUS:-8} =~ ^[1-9][0-9]*$ ]] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
here=$(dirname "$0")
venv=$here/../.venv/bin/python
PYTHON=${PYTHON:-$([[ -x $venv ]] && echo "$venv" || echo python)}
PARTITION=$1
JOB=$2
CONFIG=$3
WORK_DIR=$4
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-$((GPUS < 8 ? GPUS : 8))}
# SRUN_ARGS is a list of words.
# shellcheck disable=SC2086
exec srun -p "$PARTITION" --job-name="$JOB" --gres=gpu:"$GPUS_PER_NODE" \
    --ntasks="$GPUS" --ntasks-per-node="$GPUS_PER_NODE" --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    "$PYTHON" -u "$here/train.py" "$CONFIG" --work-dir="$WORK_DIR" --launcher=slurm "${@:5}"
