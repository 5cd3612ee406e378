#!/usr/bin/env bash
# Test on several GPUs:  tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of tools/test.py]
# On several machines, on each of them: NNODES=2 NODE_RANK=0 MASTER_ADDR=first-machine PORT=29500 tools/dist_test.sh ...
set -euo pipefail
[[ ${3:-} =~ ^([1-9][0-9]*|auto|gpu|cpu)$ ]] || { sed -n '2,3s/^# //p' "$0" >&2; exit 2; }
here=$(dirname "$0")
venv=$here/../.venv/bin/python
PYTHON=${PYTHON:-$([[ -x $venv ]] && echo "$venv" || echo python)}
CONFIG=$1
CHECKPOINT=$2
GPUS=$3
exec "$PYTHON" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$GPUS" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$here/test.py" "$CONFIG" "$CHECKPOINT" --launcher pytorch "${@:4}"
