#!/usr/bin/env bash
# The layer linter passes a clean tree and rejects each kind of offence: a check that cannot fail is none.
set -eu
lint=$PWD/tools/lint_layers
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree"/src/{base,graph,model,optim,comm,backend/cpu/isa,backend/ref,cli} "$tree"/tests/{a,b}
reset() {
    printf '#include "base/error.h"\n#include <stdlib.h>\nvoid f(void) { hone_free(p); x->free(1); }\n' > "$tree/src/model/good.c"
    printf '#include "graph/graph.h"\n#include "backend/cpu/isa/vec.h"\n' > "$tree/src/backend/cpu/good.c"
    rm -f "$tree"/src/*/bad.* "$tree"/src/backend/*/bad.* "$tree"/tests/*/*.c
    rmdir "$tree/src/stray" 2> /dev/null || true
}
rejects() { # name of the offence, part of the message
    if "$lint" "$tree" > "$tree/out"; then echo "not rejected: $1"; exit 1; fi
    grep -q "$2" "$tree/out" || { echo "$1: message lacks '$2':"; cat "$tree/out"; exit 1; }
    reset
}
reset
"$lint" "$tree" || { echo "a clean tree is rejected"; exit 1; }
echo '#include "model/config.h"' > "$tree/src/graph/bad.h";             rejects "include from below" "model/ is below it"
echo '#include "graph/backend.h"' > "$tree/src/base/bad.c";              rejects "base includes graph" "graph/ is below it"
echo '#include "backend/registry.h"' > "$tree/src/model/bad.c";          rejects "model sees a backend" "must not see backend"
echo '#include "comm/comm.h"' > "$tree/src/optim/bad.c";                 rejects "optim sees comm" "must not see comm"
echo '#include "backend/ref/ref.h"' > "$tree/src/backend/cpu/bad.c";     rejects "backend sees backend" "must not see backend ref"
echo '#include "config.h"' > "$tree/src/model/bad.c";                    rejects "relative include" "must begin with a folder"
echo 'void *p = malloc(4);' > "$tree/src/graph/bad.c";                   rejects "malloc" "malloc()"
echo '    FILE *f = fopen(path, "w");' > "$tree/src/cli/bad.c";          rejects "fopen" "fopen()"
seq 701 > "$tree/src/model/bad.c";                                       rejects "long file" "701 lines"
mkdir "$tree/src/stray"; touch "$tree/src/stray/x.c"; echo x > "$tree/src/stray/x.c"
if "$lint" "$tree" > "$tree/out"; then echo "unknown folder not rejected"; exit 1; fi
rm -r "$tree/src/stray"
touch "$tree"/tests/{a,b}/test_x.c;                                      rejects "two tests of one name" "two files of one name"
seq 701 > "$tree/src/backend/cpu/isa/kernel.c"
"$lint" "$tree" || { echo "a long kernel is rejected"; exit 1; }
