#!/bin/sh
# Installs the agent from this folder; needs no internet. Run as root:
#   sh WHEELHOUSE/install.sh --hub https://hub.example.org:8443 --token sprat1.…
here=$(cd -- "$(dirname -- "$0")" && pwd) || exit 4
command -v python3 >/dev/null 2>&1 || { echo "sprat: python3 is missing; apt-get install python3" >&2; exit 4; }
exec python3 -I "$here/install.py" "$@"
