#!/usr/bin/env bash
# fuzz.sh BUILD [TARGET...]: runs the targets of tests/fuzz (all) in BUILD (configured with clang and -DHONE_FUZZ=ON) from their
# seeds, 5 seconds each (always the same inputs: CI tests hone, not luck), with HONE_TEST_LONG=1 a million executions each of new
# ones. Prints what was executed. Finds go to BUILD/found. Exit status 1 where a target failed.
set -u
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1 # targets check, they do not race: waiting threads would take half of the time
build=$1 bound="-max_total_time=5 -timeout=100" seed=1 failed=0
shift
[ "${HONE_TEST_LONG:-}" = 1 ] && bound="-runs=1000000 -timeout=1200" seed=0
[ $# -gt 0 ] || set -- $(basename -s .c tests/fuzz/fuzz_*.c)
for name in "$@"; do
    mkdir -p "$build/corpus/$name" "$build/found"
    began=$(date +%s%N) state=held
    if ! "$build/$name" -seed=$seed $bound -rss_limit_mb=2048 -max_len=8192 -print_final_stats=1 -verbosity=0 -artifact_prefix="$build/found/$name-" \
        "$build/corpus/$name" tests/fuzz/corpus/"$name" > "$build/$name.log" 2>&1; then
        tail -40 "$build/$name.log"
        failed=1 state=FAILED
    fi
    ms=$((($(date +%s%N) - began) / 1000000 + 1)) runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$build/$name.log")
    printf '%-22s %-6s %8d executions, %5d/s, %d inputs kept\n' "$name" $state "${runs:-0}" $((${runs:-0} * 1000 / ms)) "$(find "$build/corpus/$name" -type f | wc -l)"
done
exit $failed
