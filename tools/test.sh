#!/usr/bin/env bash
# test.sh BUILD [ctest options]: runs the tests of a build and lists what they skipped: a skip must not look like a pass.
set -u
build=$1
shift
# Several tests share the cores: threads that spin while they wait take them from the others (measured: 2.5 to 40 times the time).
export OMP_WAIT_POLICY=passive
ctest --test-dir "$build" -j "$(nproc)" --output-on-failure "$@"
status=$?
log=$build/Testing/Temporary/LastTest.log
skips=$(grep -aoE 'skipped: .*' "$log" 2> /dev/null | sort | uniq -c)
[ -z "$skips" ] || printf '\nSkipped parts (times, why):\n%s\n' "$skips"
exit $status
