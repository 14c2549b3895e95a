#!/usr/bin/env bash
# fuzz.sh BUILD: runs every target of tests/fuzz in BUILD (configured with clang and -DHONE_FUZZ=ON) from its seeds, 8 seconds
# each (always the same inputs: CI tests hone, not luck), with HONE_TEST_LONG=1 ten minutes each of new ones. Finds go to BUILD/found. Exit status 1 where a target failed.
set -u
cd "$(dirname "$0")/.."
build=$1 seconds=8 seed=1 failed=0
[ "${HONE_TEST_LONG:-}" = 1 ] && seconds=600 seed=0
for source in tests/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    mkdir -p "$build/corpus/$name" "$build/found"
    if ! "$build/$name" -seed=$seed -max_total_time=$seconds -rss_limit_mb=2048 -timeout=20 -max_len=8192 -print_final_stats=0 -verbosity=0 -artifact_prefix="$build/found/$name-" \
        "$build/corpus/$name" tests/fuzz/corpus/"$name" > "$build/$name.log" 2>&1; then
        tail -40 "$build/$name.log"
        failed=1
    fi
    printf '%-24s %d s, %d inputs kept\n' "$name" $seconds "$(find "$build/corpus/$name" -type f | wc -l)"
done
exit $failed
