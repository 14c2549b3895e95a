// template.h: how a record becomes a text: "{question}\n\n{answer}". {name} is a field, {a.b} a field of a nested object,
// {{ and }} are braces; \n, \t and \\ are what they are in C. A name alone ("text") stands for "{text}" (hone_template_field).
#pragma once
#include "base/memory.h"
#include <stdbool.h>

typedef struct hone_template_part { char *text; size_t size; bool field; } hone_template_part;
typedef struct hone_template {
    hone_template_part *part; int64_t count, capacity;
    bool single;                // one field and nothing else: the field must be a text
} hone_template;

hone_status hone_template_parse(hone_template *template, const char *text);
hone_status hone_template_field(hone_template *template, const char *name);
void hone_template_release(hone_template *template);
