#!/usr/bin/env bash
# Install or update the appliance from the unpacked bundle that contains this file. Needs no network.
#   ./install.sh            into /opt/hunyuanocr (root) or ~/hunyuanocr
#   ./install.sh FOLDER     into another folder, or over an older version
#   ./install.sh --check    only verify the checksums of all files
set -euo pipefail
BUNDLE=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd)
[[ -f $BUNDLE/install.py && -f $BUNDLE/app/scripts/bootstrap.sh ]] ||
  { printf 'Error: The bundle is incomplete. Unpack the whole archive and run the install.sh in it.\n' >&2; exit 2; }
ROOT=$BUNDLE
# Verify the files that run before install.py can verify the rest.
if ! (cd "$BUNDLE" && grep -E '  (install\.sh|install\.py|app/scripts/bootstrap\.sh)$' SHA256SUMS | sha256sum --status -c -); then
  printf 'Error: The bundle is damaged (install.sh, install.py, app/scripts/bootstrap.sh or SHA256SUMS). Nothing was installed.\n' >&2
  printf '  Copy the archive again, verify its checksum (sha256sum -c), and unpack it again.\n' >&2
  exit 2
fi
source "$BUNDLE/app/scripts/bootstrap.sh"

# The wheels are built for one version of Python; prefer it.
version=$(sed -n 's/^  "python": "\([0-9.]*\)".*/\1/p' "$BUNDLE/bundle.json")
if [[ -z ${HUNYUANOCR_PYTHON:-} ]] && check_python "python$version"; then HUNYUANOCR_PYTHON=python$version; fi
find_python

default=$HOME/hunyuanocr
(( EUID != 0 )) || default=/opt/hunyuanocr
HUNYUANOCR_PYTHON=$BASE_PYTHON exec "$BASE_PYTHON" -I -S "$BUNDLE/install.py" "$BUNDLE" "${1:-$default}"
