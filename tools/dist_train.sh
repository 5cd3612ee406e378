#!/usr/bin/env bash
# Train on several GPUs:  tools/dist_train.sh CONFIG GPUS [options of tools/train.py]
# On several machines, on each of them: NNODES=2 NODE_RANK=0 MASTER_ADDR=first-machine PORT=29500 tools/dist_train.sh ...
set -euo pipefail
[[ ${2:-} =~ ^([1-9][0-9]*|auto|gpu|cpu)$ ]] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
here=$(dirname "$0")
venv=$here/../.venv/bin/python
PYTHON=${PYTHON:-$([[ -x $venv ]] && echo "$venv" || echo python)}
CONFIG=$1
GPUS=$2
exec "$PYTHON" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$GPUS" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$here/train.py" "$CONFIG" --launcher pytorch "${@:3}"
