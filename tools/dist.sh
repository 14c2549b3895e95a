#!/usr/bin/env bash
# dist.sh BUILD [FOLDER]: packs hone so that it runs from any folder of any x86-64 Linux with glibc 2.36 or newer, without root:
#     hone-VERSION-linux-x86_64/
#         bin/hone                 its library path is ../lib of where it lies (DT_RPATH, which libraries inherit)
#         lib/                     the shared libraries it needs, directly or not, but for glibc's own
#         share/man ...            man pages, completion
#         share/licenses/PACKAGE   the copyright file of each packed library's Debian package
#         LICENSE, PACKED          PACKED names every file with the package and version that it is from
# The CUDA kernels are part of the program; the driver and cuBLASLt are found on the machine (hone doctor). Prints the archive's name.
set -eu -o pipefail
cd "$(dirname "$0")/.."
build=$1 to=${2:-$1}
limit=2.36                                               # the newest glibc that is asked for
glibc='^(linux-vdso|ld-linux-x86-64|libc|libm|libdl|libpthread|librt)\.so'
program=$build/dist/hone
name=hone-$("$program" --version | awk '{ print $2; exit }')-linux-x86_64
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
folder=$work/$name
mkdir -p "$folder/bin" "$folder/lib" "$folder/share"

fail() { echo "dist: $*" >&2; exit 1; }

# The package that a file is of; files below /lib are listed as such or below /usr/lib.
package_of() {
    local file=$1
    { dpkg-query -S "$file" || dpkg-query -S "${file#/usr}" || dpkg-query -S "/usr$file"; } 2> /dev/null | head -n 1 | cut -d : -f 1
}

note() { printf '%-46s %s\n' "$1" "$2" >> "$folder/PACKED"; }

add_licence() { # of a package, once
    local from=/usr/share/doc/$1/copyright to=$folder/share/licenses/$1
    [ -f "$to/copyright" ] && return
    [ -f "$from" ] || fail "$from is missing: the licence of $1 cannot be packed"
    mkdir -p "$to" && cp -L "$from" "$to/copyright"
    note "share/licenses/$1/copyright" "$1"
}

check_glibc() { # of a program or library
    local newest
    newest=$(objdump -T "$1" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1 | cut -d _ -f 2) || return 0
    [ "$(printf '%s\n' "$newest" "$limit" | sort -V | tail -n 1)" = "$limit" ] || fail "$1 needs glibc $newest; pack on a system with glibc $limit"
}

command -v dpkg-query > /dev/null || fail "needs a Debian system: licences of what is packed are looked up in its packages"
install -s "$program" "$folder/bin/hone"
note bin/hone "hone, $(git rev-parse --short HEAD 2> /dev/null || echo 'no commit')"
check_glibc "$program"
libraries=$(ldd "$program" | awk '$2 == "=>" { print $1, $3 }' | sort)
[[ $libraries != *"not found"* ]] || fail "libraries are missing: $libraries"
while read -r soname file; do
    [[ $soname =~ $glibc ]] && continue
    real=$(readlink -f "$file")
    package=$(package_of "$real")
    [ -n "$package" ] || fail "$real is of no Debian package, so that its licence is not known"
    check_glibc "$real"
    install -m 644 "$real" "$folder/lib/$soname"
    note "lib/$soname" "$package $(dpkg-query -W -f '${Version}\n' "$package" | head -n 1)"
    add_licence "$package"
done <<< "$libraries"
add_licence libjs-dygraphs                               # put into the program at build time
cp LICENSE "$folder/LICENSE"
note LICENSE hone
"$program" man --output "$folder/share/man"
mkdir -p "$folder/share/bash-completion/completions" "$folder/share/zsh/site-functions" "$folder/share/fish/vendor_completions.d"
"$program" completion bash > "$folder/share/bash-completion/completions/hone"
"$program" completion zsh > "$folder/share/zsh/site-functions/_hone"
"$program" completion fish > "$folder/share/fish/vendor_completions.d/hone.fish"
(cd "$folder" && find share -type f ! -path 'share/licenses/*' | sort) | while read -r file; do note "$file" hone; done
note PACKED hone

mkdir -p "$to"
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$(git log -1 --format=%ct 2> /dev/null || echo 0)" -cf - "$name" | gzip -n > "$to/$name.tar.gz"
echo "$to/$name.tar.gz"
