// args.h: the command line of one verb, described once: parsed, checked and printed as --help from the same table.
//
//   static const hone_cli_option options[] = {
//       { "vocab", HONE_CLI_INT, &vocab, "N", "size of the vocabulary (default 4096)" },
//       { "json", HONE_CLI_FLAG, &json, NULL, "print one JSON object" }, { 0 } };
//   static const hone_cli_command command = { "prepare", "[options] FILE...", "what it does", "hone prepare a.txt", options };
//   bool done;
//   hone_status status = hone_cli_parse(&command, &argc, argv, &done);
//   if (status || done) return status;                    // done: --help was printed
//   for (int i = 0; i < argc; i++) ... argv[i]            // what is left: the operands
//
// Long options take `--name value` or `--name=value`; `--` ends them; a lone `-` is an operand.
#pragma once
#include "base/json.h"
#include <stdbool.h>
#include <stdint.h>

typedef enum {
    HONE_CLI_FLAG,   // bool *: true where given
    HONE_CLI_INT,    // int64_t *
    HONE_CLI_REAL,   // double *
    HONE_CLI_TEXT,   // const char **, borrowed from argv
    HONE_CLI_TEXTS   // hone_cli_texts *: may be given several times
} hone_cli_type;

typedef struct { const char *text[32]; int count; } hone_cli_texts;

typedef struct {
    const char *name;         // without the dashes; NULL ends the table
    hone_cli_type type;
    void *out;                // left as it is where the option is absent: its default
    const char *value_name;  // what the value is called in --help; NULL for a flag
    const char *help;
} hone_cli_option;

typedef struct {
    const char *verb;         // "doctor", or "tokenizer train"
    const char *operands;     // what stands behind it: "[options] FILE..."
    const char *about;        // one or more lines
    const char *example;      // a whole command line
    const hone_cli_option *option;
} hone_cli_command;

// Gets what --help would have printed, where it is set: man pages and completion are made of it (describe.c).
extern void (*hone_cli_describe)(const hone_cli_command *command);

// May what goes to this descriptor be coloured? On a terminal that can, unless NO_COLOR is set (no-color.org).
bool hone_cli_colour(int fd);
// Indented, to standard output. NULL is an error: it could not be made.
hone_status hone_cli_print_json(const json_t *value);
// argv: what stands behind the verb. Leaves the operands in argv[0 .. *argc).
hone_status hone_cli_parse(const hone_cli_command *command, int *argc, char **argv, bool *done);
