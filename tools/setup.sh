#!/usr/bin/env bash
# setup.sh [GROUP...]: installs what is missing of the packages of these groups (default: build) in packages.txt, and says so.
# Silent and without sudo where nothing is missing; on a system without dpkg it only names what is needed.
set -eu
cd "$(dirname "$0")/.."
wanted=() missing=()
while read -r name groups _; do
    case $name in ''|'#'*) continue ;; esac
    for group in "${@:-build}"; do
        case ,$groups, in *",$group,"*) wanted+=("$name"); break ;; esac
    done
done < tools/packages.txt
if ! command -v dpkg-query > /dev/null; then
    echo "setup: not a Debian system; hone needs the equivalents of: ${wanted[*]}" >&2
    exit 0
fi
for name in "${wanted[@]}"; do # a command of that name will do, whoever installed it: another vendor's nodejs brings npm and forbids Debian's
    command -v "$name" > /dev/null || [ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2> /dev/null)" = installed ] || missing+=("$name")
done
[ ${#missing[@]} -gt 0 ] || exit 0
echo "setup: installing ${missing[*]}"
sudo=
if [ "$(id -u)" != 0 ]; then
    command -v sudo > /dev/null || { echo "setup: run as root: apt-get install ${missing[*]}" >&2; exit 1; }
    sudo=sudo
fi
install() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" > "$log" 2>&1; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# A fresh system has no package lists, and old lists name versions that are gone: then one update, and again.
if ! install; then
    echo "setup: package lists are missing or old: apt-get update"
    $sudo apt-get update -q > "$log" 2>&1 && install || { cat "$log" >&2; echo "setup: could not install ${missing[*]}" >&2; exit 1; }
fi
