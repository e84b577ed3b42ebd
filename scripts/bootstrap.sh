# Sourced by the launch scripts and run_tests.sh. `bootstrap EXTRA…` creates or updates .venv according to pyproject.toml and
# constraints.txt and sets PYTHON to its interpreter. Requires ROOT (the repository).

VENV="$ROOT/.venv"
PYTHON="$VENV/bin/python"
STAMP="$VENV/.installed"        # installed state: a hash, then the extras
UNFINISHED="$VENV/.installing"  # exists while pip runs, and after an interruption

say() { printf '%s\n' "$*"; }
die() { printf 'Error: %s\n' "$1" >&2; shift; for line in "$@"; do printf '  %s\n' "$line" >&2; done; exit 2; }

# 0: usable; 1: does not run; 2: too old; 3: cannot create environments (a separate package on Debian)
check_python() {
  command -v "$1" >/dev/null 2>&1 || return 1
  local version
  version=$("$1" -c 'import sys; print("%d%02d" % sys.version_info[:2])' 2>/dev/null) || return 1
  [[ $version =~ ^[0-9]+$ ]] || return 1
  (( version >= 311 )) || return 2
  "$1" -c 'import ensurepip, venv' >/dev/null 2>&1 || return 3
}

find_python() {  # sets BASE_PYTHON; 3.11 first because the pinned versions were tested on it
  local candidate status old="" bare=""
  for candidate in ${HUNYUANOCR_PYTHON:+"$HUNYUANOCR_PYTHON"} python3.11 python3.12 python3.13 python3 python; do
    status=0; check_python "$candidate" || status=$?
    case $status in
      0) BASE_PYTHON=$(command -v "$candidate"); return ;;
      2) old=${old:-"$candidate is $("$candidate" -V 2>&1)"} ;;
      3) bare=${bare:-$candidate} ;;
    esac
  done
  [[ -n $bare ]] && die "$bare cannot create virtual environments: its venv module is not installed." \
    "On Debian or Ubuntu: sudo apt install python3-venv"
  [[ -n $old ]] && die "Python 3.11 or newer is required, but only an older version was found ($old)." \
    "On Debian 12 or Ubuntu 24.04: sudo apt install python3 python3-venv" \
    "To use another Python: HUNYUANOCR_PYTHON=/path/to/python3.12 $0"
  die "Python 3.11 or newer is required, but no Python was found." "On Debian or Ubuntu: sudo apt install python3 python3-venv"
}

require_space() {  # MB [HINT]: fail before pip does it half-way with a traceback
  local free
  free=$(df -Pm "$ROOT" 2>/dev/null | awk 'NR == 2 { print $4 }')
  [[ $free =~ ^[0-9]+$ ]] || return 0  # unknown file system: leave the check to pip
  (( free >= $1 )) || die "Not enough disk space in $ROOT: $1 MB required, $free MB free." \
    "Free disk space, or move the folder to a larger disk." ${2:+"$2"}
}

state_hash() {  # changes with the pins, the interpreter and the folder (an editable installation contains its path)
  { cat "$ROOT/pyproject.toml"; cat "$ROOT/constraints.txt" 2>/dev/null || true; "$PYTHON" -V; printf '%s' "$ROOT"; } | sha256sum | cut -c1-64
}

is_current() {  # EXTRA…: whether everything is installed by a completed run
  [[ -s $STAMP && ! -e $UNFINISHED ]] && "$PYTHON" -c '' 2>/dev/null || return 1
  local hash extras extra
  { read -r hash && read -r extras; } <"$STAMP" || return 1
  [[ $hash == "$(state_hash)" ]] || return 1
  for extra in "$@"; do [[ " $extras " == *" $extra "* ]] || return 1; done
}

make_venv() {
  if [[ -e $UNFINISHED ]] || { [[ -d $VENV ]] && ! "$PYTHON" -m pip --version >/dev/null 2>&1; }; then
    say "The previous installation was interrupted or is damaged. Installing again."
    rm -rf "$VENV"
  fi
  [[ -x $PYTHON ]] && return
  find_python
  say "Creating the environment .venv with $("$BASE_PYTHON" -V) …"
  "$BASE_PYTHON" -m venv "$VENV" || { rm -rf "$VENV"; die "$BASE_PYTHON could not create $VENV. The lines above show the error."; }
}

bootstrap() {  # EXTRA…
  is_current "$@" && return
  local extras=("$@") pins=() what=$ROOT size=2000 hint="" extra
  if [[ -s $STAMP ]]; then  # keep extras that were installed before
    for extra in $(sed -n 2p "$STAMP"); do [[ " ${extras[*]-} " == *" $extra "* ]] || extras+=("$extra"); done
  fi
  if [[ " ${extras[*]-} " == *" torch "* ]] && ! compgen -G "$VENV/lib/python3*/site-packages/torch" >/dev/null; then
    size=12000  # 3 GB of downloads, twice while pip caches them, and 6 GB installed
    hint="Or start without PyTorch: --backend ppocr"
  fi
  require_space "$size" "$hint"
  make_venv
  (( ${#extras[@]} )) && what+="[$(IFS=,; printf '%s' "${extras[*]}")]"
  [[ -f $ROOT/constraints.txt ]] && pins=(-c "$ROOT/constraints.txt")
  if [[ -d $ROOT/wheels ]]; then  # installed from a bundle: use only its wheels, now and whenever .venv is created again
    export PIP_NO_INDEX=1 PIP_FIND_LINKS="file://${ROOT// /%20}/wheels" PIP_CONFIG_FILE=/dev/null
  fi
  say "Installing packages (the first time takes a few minutes) …"
  : >"$UNFINISHED"  # remains only if this script is killed; the state of .venv is unknown then
  if ! "$PYTHON" -m pip install --disable-pip-version-check --no-input -e "$what" ${pins[@]+"${pins[@]}"}; then
    rm -f "$UNFINISHED"
    die "The packages could not be installed. The last lines of pip above show the error." "Fix the cause, then run $0 again."
  fi
  printf '%s\n%s\n' "$(state_hash)" "${extras[*]-}" >"$STAMP"
  rm -f "$UNFINISHED"
}

flag() {  # NAME DEFAULT ARG…: the value of the last --NAME VALUE or --NAME=VALUE
  local name=--$1 value=$2; shift 2
  while (( $# )); do
    case $1 in
      "$name") (( $# > 1 )) && value=$2 ;;
      "$name"=*) value=${1#*=} ;;
    esac
    shift
  done
  printf '%s' "$value"
}

require_port() {  # FLAG PORT: fail before the installation instead of after it; app_web.py checks again
  [[ $2 =~ ^[0-9]+$ && $2 -gt 0 ]] || return 0
  ! (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null ||
    die "Port $2 is in use by another program." "Choose another with --$1, or stop the program that uses the port (ss -ltnp lists it)."
}

require_ports() {  # ARG…: sets HELP if the arguments contain it; otherwise both ports must be free
  local argument
  for argument in "$@"; do
    [[ $argument == -h || $argument == --help ]] && HELP=1
  done
  [[ -z ${HELP:-} ]] || return 0
  require_port port "$(flag port "${HUNYUANOCR_SERVER__PORT:-7860}" "$@")"
  require_port api-port "$(flag api-port "${HUNYUANOCR_SERVER__API_PORT:-8000}" "$@")"
}
