#!/usr/bin/env bash
# demo.sh: from a text to a trained model that generates, with the program that `make demo` has built. Everything lies in
# build/demo. The text: the King James Bible (public domain), which Debian's bible-kjv carries.
set -eu
cd "$(dirname "$0")/.."
demo=build/demo hone=build/hone

step() { printf '\n== %s\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@"; }

rm -rf "$demo"
mkdir -p "$demo"

# `bible -f` prints a verse a line, "Ge1:1 In the beginning ...". A document is a chapter, so that the held-out share is
# whole chapters that the model never saw.
step "The text: $demo/bible.jsonl, one chapter a line"
command -v bible > /dev/null || { echo "demo: no bible program; tools/setup.sh demo installs it" >&2; exit 1; }
bible -f gen1:1-rev22:21 | awk '
    function flush() { if (text != "") printf "{\"text\": \"%s\"}\n", text; text = "" }
    {
        chapter = $1; sub(/:.*/, "", chapter)
        if (chapter != last) flush()
        last = chapter
        sub(/^[^ ]+ +/, ""); gsub(/\\/, "\\\\"); gsub(/"/, "\\\"")
        text = text $0 "\\n"
    }
    END { flush() }' > "$demo/bible.jsonl"
awk 'END { printf "%d chapters\n", NR; if (NR != 1189) { print "demo: the Bible has 1189" > "/dev/stderr"; exit 1 } }' "$demo/bible.jsonl"

step "A tokenizer of 4096 tokens"
run $hone tokenizer train --vocab 4096 --output $demo/tokenizer.json $demo/bible.jsonl

step "Token files, 2 % of the chapters held out"
run $hone prepare --tokenizer $demo/tokenizer.json --output $demo/data --held-out 0.02 $demo/bible.jsonl

step "Training"
run $hone pretrain recipes/demo.yaml "$@"

step "What it writes"
run $hone generate $demo/run/model --prompt "And it came to pass" --max-new-tokens 120 --temperature 0.8 --seed 1
