#!/usr/bin/env bash
# Starts the appliance with the model on vLLM, which runs beside it in an environment of its own and is watched by it.
#   ./launch_vllm.sh --host 0.0.0.0 --model-path ./models/hunyuanocr-1b --vram-gb 8
#   ./launch_vllm.sh --vllm-url http://192.168.1.5:8000     with a vLLM server that runs already
set -euo pipefail
ROOT=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
source "$ROOT/scripts/bootstrap.sh"
source "$ROOT/scripts/bootstrap_vllm.sh"

require_ports "$@"
bootstrap
if [[ -z ${HELP:-} && -z $(flag vllm-url "${HUNYUANOCR_VLLM__URL:-}" "$@") ]]; then bootstrap_vllm; fi
exec "$PYTHON" "$ROOT/app_web.py" --backend vllm "$@"
