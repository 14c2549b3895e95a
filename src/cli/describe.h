// describe.h: every command of the program as data: what its --help would print. Man pages, completion and the reference
// in docs/ are made from it, so that they cannot say anything else.
#pragma once
#include "cli/args.h"

typedef struct { char *name, *value_name, *help; bool flag; } hone_cli_option_text;      // value_name NULL: a flag
typedef struct {
    char *verb, *word;                        // "runs", "show"; word NULL: the verb itself
    char *name;                               // as a reference shows it: "hone runs show", "hone runs [list]"
    bool is_default;                          // of the words: the one that is meant where none is given
    char *what, *word_what;                   // of the verb and of the word: their rows in verbs.def
    char *operands, *about, *example;
    hone_cli_option_text *option; int options;
} hone_cli_text;

// In the order of verbs.def. hone_cli_free_texts() it.
hone_status hone_cli_collect_texts(hone_cli_text **text, int *count);
void hone_cli_free_texts(hone_cli_text *text, int count);
