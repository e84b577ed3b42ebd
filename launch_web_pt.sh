#!/usr/bin/env bash
# Starts the appliance; the first time it installs what this machine can use. Run with --help for the flags.
#   ./launch_web_pt.sh --host 0.0.0.0 --port 7860 --api-port 8000 --model-path ./models/hunyuanocr-1b --device cuda:0 --backend auto
set -euo pipefail
ROOT=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
source "$ROOT/scripts/bootstrap.sh"

has_weights() { compgen -G "$1/*.safetensors" >/dev/null; }
is_at_hand() { [[ ! -d $ROOT/wheels ]] || compgen -G "$ROOT/wheels/$1-*.whl" >/dev/null; }  # not left out of the bundle
has_gpu() { command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1; }

require_ports "$@"

backend=$(flag backend "${HUNYUANOCR_BACKEND:-auto}" "$@")
weights=$(flag model-path "${HUNYUANOCR_MODEL_PATH:-$ROOT/models/hunyuanocr-1b}" "$@")

why_torch() {  # prints why PyTorch is installed; nothing where it is not: it is gigabytes
  [[ -n ${HELP:-} ]] && return
  case $backend in
    torch) printf 'it is asked for (--backend torch)' ;;
    auto)
      is_at_hand torch || return 0
      if has_gpu; then printf 'there is an NVIDIA GPU'
      elif has_weights "$weights"; then printf 'there are weights in %s' "$weights"
      fi ;;
  esac
}

extras=()
why=$(why_torch)
if [[ -n $why ]]; then
  extras+=(torch)
  if ! is_current torch; then
    say "PyTorch, which runs the HunyuanOCR model, will be installed too, because $why:"
    say "  with CUDA about 2.8 GB to download and 4.9 GB on the disk. Start with --backend ppocr to do without it."
    has_weights "$weights" || say "  The model's weights are not in $weights yet: .venv/bin/hunyuanocr fetch brings them afterwards."
    [[ $backend == torch ]] || has_gpu ||
      say "  There is no GPU, so the CPU reader serves all the same; --backend torch runs the model here too, but slowly."
  fi
fi

bootstrap ${extras[@]+"${extras[@]}"}
exec "$PYTHON" "$ROOT/app_web.py" "$@"
