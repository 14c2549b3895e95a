// jinja.h: the templates that chat models bring along, rendered as transformers renders them.
//
//     text -> tokens (jinja_lex.c) -> tree (jinja_parse.c) -> walked with the caller's variables (jinja_eval.c)
//
// The language is the part of Jinja2 that such templates are written in: output, if, for (with loop.*, break, continue, else),
// set (of names, of a namespace's members, of blocks), macros and call blocks, filter blocks, with, raw, `generation` blocks;
// expressions with filters, tests, slices and the methods of strings, lists and dicts. The environment is transformers': trim_blocks and
// lstrip_blocks on, raise_exception() and strftime_now() given, tojson without escapes, values never changed in place. What is
// not in the tables of jinja_filter.c and jinja_method.c is refused by name. Values are Python's: True, None, 1.0 and
// ['a'] print as Python prints them; text is counted in characters.
//
// A template is somebody else's program, so it is bounded: depth, steps, memory and output. After parsing it never changes,
// and any number of threads may render it.
#pragma once
#include "base/json.h"
#include "base/memory.h"
#include <stdbool.h>
#include <time.h>

typedef struct hone_jinja hone_jinja;

// `where` opens every message: "where: line 3: ...".
hone_status hone_jinja_parse(const char *where, const char *text, size_t size, hone_jinja **out);
void hone_jinja_free(hone_jinja *jinja);
bool hone_jinja_has_generation(const hone_jinja *jinja);    // a {% generation %} block stands in it

// Which part of the output came from what: bytes [from, to) of it.
typedef struct hone_jinja_span { size_t from, to; int64_t item; } hone_jinja_span;
typedef struct hone_jinja_trace {   // starts all zero but for `list`
    const char *list;               // a variable that is a list: its items are what loops are watched for
    hone_jinja_span *turn; int64_t n_turns, turn_capacity;          // written while the outermost loop stood at item `item` of it
    hone_jinja_span *generation; int64_t n_generations, generation_capacity; // written by a generation block
} hone_jinja_trace;
void hone_jinja_trace_release(hone_jinja_trace *trace);     // keeps `list`

// Appends what the template makes of `variables`, a JSON object. now: what strftime_now() tells, 0 the clock. trace may be NULL; its
// lists are emptied first.
hone_status hone_jinja_render(const hone_jinja *jinja, const json_t *variables, time_t now, hone_jinja_trace *trace, hone_buffer *out);
