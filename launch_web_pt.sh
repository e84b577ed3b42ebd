#!/usr/bin/env bash
# Start the appliance. The first start installs the packages that this machine can use. --help lists the flags.
#   ./launch_web_pt.sh --host 0.0.0.0 --port 7860 --api-port 8000 --model-path ./models/hunyuanocr-1b --device cuda:0 --backend auto
set -euo pipefail
ROOT=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
source "$ROOT/scripts/bootstrap.sh"

has_weights() { compgen -G "$1/*.safetensors" >/dev/null; }
in_bundle() { [[ ! -d $ROOT/wheels ]] || compgen -G "$ROOT/wheels/$1-*.whl" >/dev/null; }  # without a bundle: true
has_gpu() { command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1; }

require_ports "$@"

backend=$(flag backend "${HUNYUANOCR_BACKEND:-auto}" "$@")
weights=$(flag model-path "${HUNYUANOCR_MODEL_PATH:-$ROOT/models/hunyuanocr-1b}" "$@")

why_torch() {  # prints the reason to install PyTorch, or nothing: it needs gigabytes
  [[ -n ${HELP:-} ]] && return
  case $backend in
    torch) printf 'the backend torch is selected' ;;
    auto)
      in_bundle torch || return 0
      if has_gpu; then printf 'this machine has an NVIDIA GPU'
      elif has_weights "$weights"; then printf '%s contains model weights' "$weights"
      fi ;;
  esac
}

extras=()
why=$(why_torch)
if [[ -n $why ]]; then
  extras+=(torch)
  if ! is_current torch; then
    say "PyTorch will be installed to run the HunyuanOCR model, because $why."
    say "  With CUDA: about 2.8 GB to download, 4.9 GB on disk. To skip it, start with --backend ppocr."
    has_weights "$weights" || say "  $weights contains no model weights yet. Download them afterwards with: .venv/bin/hunyuanocr fetch"
    [[ $backend == torch ]] || has_gpu ||
      say "  This machine has no GPU, so the CPU backend will be used. --backend torch runs the model on the CPU, but slowly."
  fi
fi

bootstrap ${extras[@]+"${extras[@]}"}
exec "$PYTHON" "$ROOT/app_web.py" "$@"
