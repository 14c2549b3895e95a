// verbs.h: the entry of every verb and of every word behind one.
#pragma once
#include "base/error.h"
#include <stdio.h>

#define VERB(name, what) hone_status hone_cmd_##name(int argc, char **argv);
#define WORD(verb, word, what) hone_status hone_cmd_##verb##_##word(int argc, char **argv);
#include "cli/verbs.def"
#undef VERB

// A GROUP's words: runs the one that argv begins with, or the one meant where none is given; --help lists them.
hone_status hone_cli_run_word(const char *verb, int argc, char **argv);
// "ls, verify, diff, prune".
void hone_cli_print_words(const char *verb, FILE *to);
