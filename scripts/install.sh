#!/usr/bin/env bash
# Installs the appliance from the unpacked bundle that this file lies in, without any network, or brings an update to it.
#   ./install.sh            into /opt/hunyuanocr (root) or ~/hunyuanocr
#   ./install.sh FOLDER     somewhere else, or where an older version is
#   ./install.sh --check    only compares every file with its checksum
set -euo pipefail
BUNDLE=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
[[ -f $BUNDLE/install.py && -f $BUNDLE/app/scripts/bootstrap.sh ]] ||
  { printf 'Error: The bundle is incomplete: unpack the whole archive, and run the install.sh in it.\n' >&2; exit 2; }
ROOT=$BUNDLE
# What is run before Python can look at the rest.
if ! (cd "$BUNDLE" && grep -E '  (install\.sh|install\.py|app/scripts/bootstrap\.sh)$' SHA256SUMS | sha256sum --status -c -); then
  printf 'Error: The bundle is damaged: install.sh, install.py, app/scripts/bootstrap.sh or SHA256SUMS. Nothing was installed.\n' >&2
  printf '  Copy the archive again, compare its own checksum (sha256sum -c), and unpack it again.\n' >&2
  exit 2
fi
source "$BUNDLE/app/scripts/bootstrap.sh"

# Its wheels are for one version of Python: that one first.
version=$(sed -n 's/^  "python": "\([0-9.]*\)".*/\1/p' "$BUNDLE/bundle.json")
if [[ -z ${HUNYUANOCR_PYTHON:-} ]] && judge_python "python$version"; then HUNYUANOCR_PYTHON=python$version; fi
find_python

default=$HOME/hunyuanocr
(( EUID != 0 )) || default=/opt/hunyuanocr
HUNYUANOCR_PYTHON=$BASE_PYTHON exec "$BASE_PYTHON" -I -S "$BUNDLE/install.py" "$BUNDLE" "${1:-$default}"
