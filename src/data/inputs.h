// inputs.h: what the user named, as a list of files: each with its format, its size and its age.
//
//     a.txt  b.jsonl.gz          files
//     corpus/                    a folder: every file below it whose name ends as in formats.def, in order of names; no .json,
//                                which settings and indexes are, too: such a file is read where it is named itself
//     'corpus/*.md'              a pattern, where no file has that very name
//     @files.txt                 a list: one of these a line
//     -                          standard input
//
// A folder's other files are counted, never read by guess. The list is fixed before anything is read: a file that changes or
// vanishes afterwards is an error.
#pragma once
#include "base/error.h"
#include <stdbool.h>
#include <stdint.h>

typedef enum {
#define FORMAT(name, ends, what) HONE_FORMAT_##name,
#include "data/formats.def"
#undef FORMAT
    HONE_FORMAT_COUNT
} hone_input_format;
static inline bool hone_format_is_json(hone_input_format format) { return format == HONE_FORMAT_jsonl || format == HONE_FORMAT_json; }
int hone_format_of(const char *path);    // by its name, packed or not; -1: none
extern const char *const hone_format_name[HONE_FORMAT_COUNT];

typedef struct hone_input {
    char *path;             // "-": standard input
    hone_input_format format;
    int64_t size_bytes, time_ns;
} hone_input;

typedef struct hone_inputs {
    hone_input *input; int64_t count, capacity;
    int64_t passed_over;    // files in folders that are of no known format
    char *passed_example;   // one of them
    int64_t size_bytes;     // of all
    bool standard;          // standard input is among them
} hone_inputs;

// format: of every input whatever its name ("text", "jsonl" ...), NULL: by its name.
hone_status hone_inputs_open(hone_inputs *inputs, const char *const *operand, int64_t n_operands, const char *format);
void hone_inputs_close(hone_inputs *inputs);
