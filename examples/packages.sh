# Sourced by the scripts that install what they need. Debian 12 or later, Ubuntu 24.04 or later; elsewhere it names what is missing.
#
#   need COMMAND-OR-pkg:MODULE PACKAGE   notes PACKAGE as wanted when the command or pkg-config module is not there
#   install_needed                       says what will be installed, installs it, and fails if it is still missing

NEEDED=()
REQUIRED=()

have() {
  case "$1" in
    pkg:*) command -v pkg-config >/dev/null && pkg-config --exists "${1#pkg:}" ;;
    file:*) [ -e "${1#file:}" ] ;;
    venv) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

need() {
  REQUIRED+=("$1=$2")
  have "$1" || NEEDED+=("$2")
}

need_build_packages() {
  need cmake cmake
  need ninja ninja-build
  need cc gcc
  need file:/usr/include/stdio.h libc6-dev
  need nm binutils
  need pkg-config pkg-config
  need llvm-config-19 llvm-19-dev
  need pkg:libcjson libcjson-dev
  need pkg:libjpeg libjpeg-dev
  need pkg:libpng libpng-dev
  need pkg:libwebp libwebp-dev
  need pkg:libprotobuf-c libprotobuf-c-dev
  need protoc-c protobuf-c-compiler
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  else
    sudo "$@"
  fi
}

install_needed() {
  if [ ${#NEEDED[@]} -eq 0 ]; then
    return 0
  fi
  if ! command -v apt-get >/dev/null; then
    echo "missing, and there is no apt-get here to install it with: ${NEEDED[*]}" >&2
    return 1
  fi
  if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    echo "missing: ${NEEDED[*]}. Run this as root, or install sudo" >&2
    return 1
  fi
  echo "Installing with apt-get, from this system's own package sources: ${NEEDED[*]}"
  local log
  log=$(mktemp)
  # A machine that boots may hold apt's lock for a minute; DPkg::Lock::Timeout waits for it.
  if ! { as_root apt-get update && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    -o DPkg::Lock::Timeout=120 "${NEEDED[@]}"; } >"$log" 2>&1 </dev/null; then
    tail -20 "$log" >&2
    echo "apt-get could not install: ${NEEDED[*]} (needs Debian 12, Ubuntu 24.04, or later)" >&2
    rm -f "$log"
    return 1
  fi
  rm -f "$log"
  hash -r
  local pair missing=0
  for pair in "${REQUIRED[@]}"; do
    if ! have "${pair%=*}"; then
      echo "still missing after the installation of ${pair##*=}: ${pair%=*}" >&2
      missing=1
    fi
  done
  NEEDED=()
  return $missing
}
