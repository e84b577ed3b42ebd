# Sourced by the launch scripts and run_tests.sh: makes .venv what pyproject.toml and constraints.txt ask for, and nothing more.
# Needs ROOT (the repository). `bootstrap EXTRA…` leaves PYTHON pointing at the environment's interpreter.

VENV="$ROOT/.venv"
PYTHON="$VENV/bin/python"
STAMP="$VENV/.installed"        # what is installed: a hash, then the extras
UNFINISHED="$VENV/.installing"  # there while pip runs; left behind by an interruption

say() { printf '%s\n' "$*"; }
die() { printf 'Error: %s\n' "$1" >&2; shift; for line in "$@"; do printf '  %s\n' "$line" >&2; done; exit 2; }

# 0: good; 1: does not run; 2: too old; 3: cannot make environments (Debian splits that off)
judge_python() {
  command -v "$1" >/dev/null 2>&1 || return 1
  local version
  version=$("$1" -c 'import sys; print("%d%02d" % sys.version_info[:2])' 2>/dev/null) || return 1
  [[ $version =~ ^[0-9]+$ ]] || return 1
  (( version >= 311 )) || return 2
  "$1" -c 'import ensurepip, venv' >/dev/null 2>&1 || return 3
}

find_python() {  # sets BASE_PYTHON; 3.11 first because the pinned versions were tested on it
  local candidate verdict old="" bare=""
  for candidate in ${HUNYUANOCR_PYTHON:+"$HUNYUANOCR_PYTHON"} python3.11 python3.12 python3.13 python3 python; do
    verdict=0; judge_python "$candidate" || verdict=$?
    case $verdict in
      0) BASE_PYTHON=$(command -v "$candidate"); return ;;
      2) old=${old:-"$candidate is $("$candidate" -V 2>&1)"} ;;
      3) bare=${bare:-$candidate} ;;
    esac
  done
  [[ -n $bare ]] && die "$bare cannot make virtual environments: its venv module is not installed." \
    "On Debian or Ubuntu: sudo apt install python3-venv"
  [[ -n $old ]] && die "Python 3.11 or newer is needed, and only an older one is here ($old)." \
    "On Debian 12 or Ubuntu 24.04: sudo apt install python3 python3-venv" \
    "With another Python somewhere: HUNYUANOCR_PYTHON=/path/to/python3.12 $0"
  die "Python 3.11 or newer is needed, and no Python was found." "On Debian or Ubuntu: sudo apt install python3 python3-venv"
}

require_space() {  # MB [HINT]: stop before pip does, half-way and with a traceback
  local free
  free=$(df -Pm "$ROOT" 2>/dev/null | awk 'NR == 2 { print $4 }')
  [[ $free =~ ^[0-9]+$ ]] || return 0  # unknown file system: let pip find out
  (( free >= $1 )) || die "The disk is too full: $1 MB are needed in $ROOT, $free MB are free." \
    "Make room, or move the folder to a larger disk." ${2:+"$2"}
}

wanted_hash() {  # changes with the pins, the interpreter and the folder (an editable install knows its path)
  { cat "$ROOT/pyproject.toml"; cat "$ROOT/constraints.txt" 2>/dev/null || true; "$PYTHON" -V; printf '%s' "$ROOT"; } | sha256sum | cut -c1-64
}

is_current() {  # EXTRA…: is everything installed, and by a finished run?
  [[ -s $STAMP && ! -e $UNFINISHED ]] && "$PYTHON" -c '' 2>/dev/null || return 1
  local hash extras extra
  { read -r hash && read -r extras; } <"$STAMP" || return 1
  [[ $hash == "$(wanted_hash)" ]] || return 1
  for extra in "$@"; do [[ " $extras " == *" $extra "* ]] || return 1; done
}

make_venv() {
  if [[ -e $UNFINISHED ]] || { [[ -d $VENV ]] && ! "$PYTHON" -m pip --version >/dev/null 2>&1; }; then
    say "An earlier installation was interrupted or is broken: starting it afresh."
    rm -rf "$VENV"
  fi
  [[ -x $PYTHON ]] && return
  find_python
  say "Making the environment .venv with $("$BASE_PYTHON" -V) …"
  "$BASE_PYTHON" -m venv "$VENV" || { rm -rf "$VENV"; die "$BASE_PYTHON could not make $VENV; the lines above say why."; }
}

bootstrap() {  # EXTRA…
  is_current "$@" && return
  local extras=("$@") pins=() what=$ROOT size=2000 hint="" extra
  if [[ -s $STAMP ]]; then  # what was asked for before stays
    for extra in $(sed -n 2p "$STAMP"); do [[ " ${extras[*]-} " == *" $extra "* ]] || extras+=("$extra"); done
  fi
  if [[ " ${extras[*]-} " == *" torch "* ]] && ! compgen -G "$VENV/lib/python3*/site-packages/torch" >/dev/null; then
    size=12000  # 3 GB of downloads, twice while pip works and keeps them, and 6 GB on disk
    hint="Or leave PyTorch out, where the start offers that (--backend ppocr)."
  fi
  require_space "$size" "$hint"
  make_venv
  (( ${#extras[@]} )) && what+="[$(IFS=,; printf '%s' "${extras[*]}")]"
  [[ -f $ROOT/constraints.txt ]] && pins=(-c "$ROOT/constraints.txt")
  if [[ -d $ROOT/wheels ]]; then  # installed from a bundle: its wheels and nothing else, now and when .venv is made anew
    export PIP_NO_INDEX=1 PIP_FIND_LINKS="file://${ROOT// /%20}/wheels" PIP_CONFIG_FILE=/dev/null
  fi
  say "Installing the packages (the first time this takes some minutes) …"
  : >"$UNFINISHED"  # stays only when we are killed: then nobody knows what is half written
  if ! "$PYTHON" -m pip install --disable-pip-version-check --no-input -e "$what" ${pins[@]+"${pins[@]}"}; then
    rm -f "$UNFINISHED"
    die "The packages could not be installed; pip's last lines above say why." "Nothing is lost: run $0 again when it is mended."
  fi
  printf '%s\n%s\n' "$(wanted_hash)" "${extras[*]-}" >"$STAMP"
  rm -f "$UNFINISHED"
}

flag() {  # NAME DEFAULT ARG…: the value of --NAME VALUE or --NAME=VALUE, the last one given
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

require_port() {  # FLAG PORT: tell before minutes of installing, not after; app_web.py looks again
  [[ $2 =~ ^[0-9]+$ && $2 -gt 0 ]] || return 0
  ! (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null ||
    die "Port $2 is taken by another program." "Choose another with --$1, or stop the program that listens there (ss -ltnp shows it)."
}

require_ports() {  # ARG…: sets HELP where the arguments ask for it; else both ports must be free
  local argument
  for argument in "$@"; do
    [[ $argument == -h || $argument == --help ]] && HELP=1
  done
  [[ -z ${HELP:-} ]] || return 0
  require_port port "$(flag port "${HUNYUANOCR_SERVER__PORT:-7860}" "$@")"
  require_port api-port "$(flag api-port "${HUNYUANOCR_SERVER__API_PORT:-8000}" "$@")"
}
