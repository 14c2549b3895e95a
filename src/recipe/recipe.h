// recipe.h: what a run is to do, as the user wrote it: a YAML file plus key=value on the command line.
//
//     keys.def  ->  struct hone_recipe, parser, range checks, `hone schema`
//
// Everything that is wrong is found while reading, with file, line and a caret under the place; what can only be judged
// later (a row longer than the model's positions) is reported with hone_recipe_fail(), which points at the same place.
//
//     recipe.yaml:12: learning_rte is not a key; did you mean learning_rate?
//         learning_rte: 3e-4
//         ^~~~~~~~~~~~
#pragma once
#include "base/json.h"
#include "base/memory.h"

typedef struct hone_list { char **item; int64_t count; } hone_list;

// Member types, by the type column of keys.def.
typedef int64_t hone_key_int;
typedef double hone_key_real;
typedef bool hone_key_bool;
typedef char *hone_key_text;      // never NULL; "" = not set
typedef int hone_key_enum;        // a hone_choice
typedef hone_list hone_key_list;
typedef int64_t hone_key_bytes;
typedef double hone_key_time;     // seconds
typedef json_t *hone_key_map;     // an object; empty = not set
typedef json_t *hone_key_maps;    // an array of objects; empty = not set

typedef enum { HONE_TYPE_int, HONE_TYPE_real, HONE_TYPE_bool, HONE_TYPE_text, HONE_TYPE_enum, HONE_TYPE_list,
               HONE_TYPE_bytes, HONE_TYPE_time, HONE_TYPE_map, HONE_TYPE_maps } hone_key_type;

typedef enum {                    // HONE_KEY_learning_rate ...
#define GROUP(title)
#define KEY(type, name, ...) HONE_KEY_##name,
#define CHOICE(key, value)
#include "recipe/keys.def"
    HONE_KEY_COUNT
} hone_key_id;

typedef enum {                    // HONE_lr_scheduler_type_cosine ... : numbered over all enum keys
#define GROUP(title)
#define KEY(type, name, ...)
#define CHOICE(key, value) HONE_##key##_##value,
#include "recipe/keys.def"
    HONE_CHOICE_COUNT
} hone_choice;

typedef struct hone_key {
    const char *name, *unit, *fallback, *range, *what;
    hone_key_type type;
    size_t offset;                // in hone_recipe
} hone_key;
extern const hone_key hone_key_table[HONE_KEY_COUNT];
const char *hone_choice_name(hone_choice choice);
bool hone_choice_of(const hone_key *key, hone_choice choice);                // is it one of this key's?
const char *hone_key_group(hone_key_id key);                                 // the heading that it stands below
// The choice that a text names; `called` starts the message: the key itself, or the option that takes its values.
hone_status hone_key_choose(const hone_key *key, const char *called, const char *text, hone_key_enum *chosen);
hone_status hone_key_print_kind(const hone_key *key, hone_buffer *out);      // "int [1,)", "cosine|linear|constant"

// Where something was written: for messages.
typedef struct hone_place {
    const char *text;             // the line (a copy, no newline)
    int line;                     // from 1; 0 = the command line
    int column, length;           // in characters, from 0
} hone_place;

typedef struct hone_entry {       // a key that was given
    hone_key_id key;
    char *member;                 // of a map key; "2.weight" of the third map of a list; else NULL
    char *line_text;
    hone_place name, value;
} hone_entry;

typedef struct hone_recipe {
#define GROUP(title)
#define KEY(type, name, ...) hone_key_##type name;
#define CHOICE(key, value)
#include "recipe/keys.def"
    char *path;
    hone_entry *entry; int64_t n_entry, capacity;
} hone_recipe;

// path NULL: defaults and overrides only. On failure nothing is left to release.
hone_status hone_recipe_load(hone_recipe *recipe, const char *path, int n_override, char *const *override);
// The same from a text (YAML, or what hone_recipe_to_text makes); where: what messages call it.
hone_status hone_recipe_parse(hone_recipe *recipe, const char *where, const char *text, int n_override, char *const *override);
void hone_recipe_release(hone_recipe *recipe);
bool hone_recipe_given(const hone_recipe *recipe, hone_key_id key);

// "recipe.yaml:12: message" with the line and a caret under the value of `key` (or of its member, for a map).
hone_status hone_recipe_fail(const hone_recipe *recipe, hone_key_id key, const char *member, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
// The same for a member of a map that nobody knows; `known` are the names it could have had.
hone_status hone_recipe_fail_member(const hone_recipe *recipe, hone_key_id key, const char *member, const json_t *known,
                                    const char *of);

hone_status hone_recipe_to_json(const hone_recipe *recipe, json_t **out);    // all keys with their values
hone_status hone_recipe_to_text(const hone_recipe *recipe, char **out);      // the same as JSON that YAML reads alike; hone_free() it
hone_status hone_recipe_print_keys(hone_buffer *out);                        // the table, for people
hone_status hone_recipe_schema(json_t **out);                                // and as JSON schema, for editors
