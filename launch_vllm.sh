#!/usr/bin/env bash
# Start the appliance with the model on vLLM. The appliance starts and supervises vLLM as a child process with a separate environment.
#   ./launch_vllm.sh --host 0.0.0.0 --model-path ./models/hunyuanocr-1b --vram-gb 8
#   ./launch_vllm.sh --vllm-url http://192.168.1.5:8000     use a running vLLM server
set -euo pipefail
ROOT=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
source "$ROOT/scripts/bootstrap.sh"
source "$ROOT/scripts/bootstrap_vllm.sh"

require_ports "$@"
bootstrap
if [[ -z ${HELP:-} && -z $(flag vllm-url "${HUNYUANOCR_VLLM__URL:-}" "$@") ]]; then bootstrap_vllm; fi
exec "$PYTHON" "$ROOT/app_web.py" --backend vllm "$@"
