#!/usr/bin/env bash
# setup_llamacpp.sh: prints a folder with llama.cpp as others run it (npm node-llama-cpp: prebuilt libraries), for HONE_LLAMACPP,
# or fails and says why on stderr. Takes HONE_LLAMACPP if that has it, else makes build/llamacpp (725 MB, once).
set -eu
cd "$(dirname "$0")/.."
version=3.22.1

complete() { # the folder $1 has the package in the version asked for
    [ -f "$1/node_modules/node-llama-cpp/package.json" ] && grep -q "\"version\": \"$version\"" "$1/node_modules/node-llama-cpp/package.json"
}

command -v node > /dev/null || { echo "setup_llamacpp: no node (Debian: apt-get install nodejs npm)" >&2; exit 1; }
for folder in "${HONE_LLAMACPP:-}" build/llamacpp; do
    if [ -n "$folder" ] && complete "$folder"; then
        realpath -s "$folder"
        exit 0
    fi
done
command -v npm > /dev/null || { echo "setup_llamacpp: no npm" >&2; exit 1; }
mkdir -p build/llamacpp
echo '{"private": true}' > build/llamacpp/package.json
echo "setup_llamacpp: installing node-llama-cpp $version into build/llamacpp" >&2
if ! (cd build/llamacpp && NODE_LLAMA_CPP_SKIP_DOWNLOAD=true timeout 600 npm install --silent --no-audit --no-fund "node-llama-cpp@$version") > build/llamacpp.log 2>&1; then
    tail -3 build/llamacpp.log >&2
    echo "setup_llamacpp: npm could not install node-llama-cpp@$version" >&2
    exit 1
fi
complete build/llamacpp || { echo "setup_llamacpp: build/llamacpp lacks the package after the install" >&2; exit 1; }
realpath -s build/llamacpp
