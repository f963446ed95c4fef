#!/bin/sh
# What wheels expect of the system and a minimal Debian 12 may lack. Installs it as root, else says which packages.
# Usage: debian_packages.sh PYTHON [tests]
set -eu
missing=""
"${1:-python3.11}" -c 'import ensurepip, venv' 2>/dev/null || missing="$missing python3-venv"
ldconfig -p | grep -q 'libnuma\.so\.1' || missing="$missing libnuma1" # vLLM's CPU kernels
ldconfig -p | grep -q 'libgomp\.so\.1' || missing="$missing libgomp1" # torch's threads
if [ "${2:-}" = tests ]; then
    command -v chromium >/dev/null || missing="$missing chromium" # the web page's tests
fi
[ -n "$missing" ] || exit 0
if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
    apt-get update -qq
    # shellcheck disable=SC2086 # one word a package
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
else
    echo "These system packages are missing:$missing. Install them, on Debian 12 with: sudo apt-get install$missing" >&2
    exit 2
fi
