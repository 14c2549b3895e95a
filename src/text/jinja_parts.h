// jinja_parts.h: the inside of jinja.h, shared by the files jinja_*.c and nobody else.
//
// Nodes and values live in rooms: memory that is given out upwards and released as a whole. A template has one for its tree, a
// rendering one for its values, so nothing in either is ever freed on its own. NULL where a value should be means failure, with
// hone_error() set.
#pragma once
#include "text/jinja.h"

enum { HONE_JINJA_ROOM_BYTES = 256 << 20, HONE_JINJA_OUTPUT_BYTES = 64 << 20, HONE_JINJA_STEPS = 20000000, HONE_JINJA_DEPTH = 200,
       HONE_JINJA_RANGE = 100000 };

typedef struct hone_room { struct hone_room_chunk *chunk; size_t total; } hone_room; // starts all zero
void *hone_room_take(hone_room *room, size_t count, size_t size);                   // zeroed, aligned for any struct
char *hone_room_text(hone_room *room, const char *text, size_t size);               // a copy, NUL behind it
void hone_room_release(hone_room *room);

// --- values (jinja_value.c)
typedef enum { HONE_J_UNDEFINED, HONE_J_NONE, HONE_J_BOOL, HONE_J_INT, HONE_J_REAL, HONE_J_TEXT, HONE_J_LIST, HONE_J_TUPLE, HONE_J_DICT,
               HONE_J_NAMESPACE, HONE_J_LOOP, HONE_J_FUNCTION, HONE_J_MACRO } hone_jkind;
typedef struct hone_jvalue hone_jvalue;
typedef struct hone_jargs {         // of a call: positions, then names
    hone_jvalue **at; int n;
    const char **name; hone_jvalue **named; int n_named;
} hone_jargs;
typedef struct hone_jrender hone_jrender;
typedef struct hone_jfunction { // rows of the tables of filters, tests, methods and globals; most -1: any number
    const char *name;
    hone_jvalue *(*call)(hone_jrender *r, hone_jvalue *self, const hone_jargs *args);
    int least, most;            // arguments beside self
    const char *names;          // of the arguments, "a b c", where they may be given by name
} hone_jfunction;

struct hone_jvalue {
    hone_jkind kind;
    int64_t item;                                       // 1 + its place in the list that is traced
    union {
        int64_t whole;                                  // BOOL, INT
        double real;
        struct { const char *text; size_t size; };      // TEXT; UNDEFINED: its name, NULL none
        struct { hone_jvalue **at, **key; int64_t count, capacity; }; // LIST, TUPLE; with keys DICT, NAMESPACE
        struct hone_jloop *loop;
        struct { const hone_jfunction *function; hone_jvalue *self; };
        struct { const struct hone_jnode *macro; struct hone_jscope *scope; };
    };
};

hone_jvalue *hone_j_new(hone_room *room, hone_jkind kind);
hone_jvalue *hone_j_bool(hone_room *room, bool truth);
hone_jvalue *hone_j_int(hone_room *room, int64_t whole);
hone_jvalue *hone_j_real(hone_room *room, double real);
hone_jvalue *hone_j_text(hone_room *room, const char *text, size_t size);   // a copy
hone_jvalue *hone_j_borrow(hone_room *room, const char *text, size_t size); // the bytes outlive the room
hone_status hone_j_add(hone_room *room, hone_jvalue *list, hone_jvalue *item);
hone_status hone_j_put(hone_room *room, hone_jvalue *dict, hone_jvalue *key, hone_jvalue *item);  // replaces
hone_jvalue *hone_j_find(const hone_jvalue *dict, const hone_jvalue *key);  // NULL: not there, no error
hone_jvalue *hone_j_member(const hone_jvalue *dict, const char *key);       // likewise
hone_jvalue *hone_j_from_json(hone_room *room, const json_t *json, int depth);
bool hone_j_truth(const hone_jvalue *value);
bool hone_j_equal(const hone_jvalue *a, const hone_jvalue *b);
hone_status hone_j_compare(const hone_jvalue *a, const hone_jvalue *b, int *sign);  // fails where Python has no order
hone_status hone_j_contains(const hone_jvalue *where, const hone_jvalue *what, bool *in);
static inline bool hone_j_is_number(const hone_jvalue *v) { return v->kind >= HONE_J_BOOL && v->kind <= HONE_J_REAL; }
static inline bool hone_j_is_whole(const hone_jvalue *v) { return v->kind == HONE_J_BOOL || v->kind == HONE_J_INT; }
static inline bool hone_j_is_list(const hone_jvalue *v) { return v->kind == HONE_J_LIST || v->kind == HONE_J_TUPLE; }
static inline double hone_j_number(const hone_jvalue *v) { return v->kind == HONE_J_REAL ? v->real : (double)v->whole; }
const char *hone_j_kind_name(const hone_jvalue *value);                      // as Python calls it: 'str', 'NoneType'
hone_status hone_j_print(const hone_jvalue *value, hone_buffer *out);        // str()
hone_status hone_j_repr(const hone_jvalue *value, hone_buffer *out, int depth);
hone_status hone_j_json(const hone_jvalue *value, int64_t indent, bool sort, int level, hone_buffer *out); // json.dumps(); indent -1: one line
hone_jvalue *hone_j_printed(hone_room *room, const hone_jvalue *value);      // TEXT of str()
int64_t hone_j_length(const hone_jvalue *value);                             // -1: has none
int64_t hone_j_characters(const char *text, size_t size);
size_t hone_j_offset(const char *text, size_t size, int64_t characters);     // bytes of so many characters
hone_jvalue *hone_j_items(hone_room *room, hone_jvalue *value);              // LIST of what iterating it gives

// --- the tree (jinja_lex.c, jinja_parse.c)
typedef enum { HONE_T_DATA, HONE_T_PRINT, HONE_T_PRINT_END, HONE_T_BLOCK, HONE_T_BLOCK_END, HONE_T_NAME, HONE_T_TEXT, HONE_T_INT, HONE_T_REAL,
               HONE_T_OP, HONE_T_END } hone_jtoken_kind;
typedef struct hone_jtoken {
    hone_jtoken_kind kind;
    int line;
    const char *text; size_t size;  // in the template's room, NUL behind it
    int64_t whole; double real;
} hone_jtoken;

typedef enum {
    HONE_N_CONST, HONE_N_NAME, HONE_N_LIST, HONE_N_TUPLE, HONE_N_DICT, HONE_N_ATTRIBUTE, HONE_N_ITEM, HONE_N_SLICE, HONE_N_CALL, HONE_N_FILTER,
    HONE_N_TEST, HONE_N_NOT, HONE_N_NEGATE, HONE_N_PLUS, HONE_N_BINARY, HONE_N_COMPARE, HONE_N_AND, HONE_N_OR, HONE_N_CHOICE, HONE_N_CONCAT,
    HONE_N_DATA, HONE_N_PRINT, HONE_N_FOR, HONE_N_IF, HONE_N_SET, HONE_N_SET_BLOCK, HONE_N_MACRO, HONE_N_CALL_BLOCK, HONE_N_FILTER_BLOCK,
    HONE_N_WITH, HONE_N_GENERATION, HONE_N_BREAK, HONE_N_CONTINUE
} hone_jnode_kind;

typedef struct hone_jnode hone_jnode;
typedef struct hone_jnodes { hone_jnode **at; int64_t count, capacity; } hone_jnodes;
struct hone_jnode {
    hone_jnode_kind kind;
    int line;
    const char *text;               // name, operator, attribute
    hone_jvalue *value;             // CONST, DATA
    hone_jnode *a, *b, *c;          // operands; what each is stands in jinja_parse.c
    hone_jnodes list, body, other;  // elements or positional arguments; statements; of `else`
    hone_jnodes named;              // arguments given by name, `text` each; parameters of a macro (a: default)
};

struct hone_jinja {
    char *where;
    hone_room room;
    hone_jnodes body;
    bool generation;
};
hone_status hone_jinja_lex(hone_jinja *jinja, const char *text, size_t size, hone_jtoken **tokens, int64_t *count); // hone_free() tokens
hone_status hone_jinja_build(hone_jinja *jinja, const hone_jtoken *tokens);

// --- rendering (jinja_eval.c, jinja_run.c)
typedef struct hone_jscope {        // names, the innermost scope first
    struct hone_jscope *outer;
    const char **name; hone_jvalue **value; int64_t count, capacity, value_capacity;
} hone_jscope;

typedef struct hone_jloop {         // what `loop` tells in a for
    const hone_jvalue *items; int64_t index; hone_jvalue *changed;
} hone_jloop;

struct hone_jrender {
    const hone_jinja *jinja;
    hone_room room;
    hone_jscope *root;              // variables of the caller
    int64_t steps; int depth, line;
    time_t now;
    hone_buffer *out;               // where output goes now
    hone_buffer *whole; size_t begin; // the caller's, and its size before
    hone_jinja_trace *trace;
    bool in_turn;                   // a loop over the traced list is under way
};
bool hone_jinja_step(hone_jrender *r, const hone_jnode *node);                              // false: too many, or too deep
hone_jscope *hone_jinja_scope(hone_jrender *r, hone_jscope *outer);
hone_status hone_jinja_assign(hone_jrender *r, hone_jscope *scope, const char *name, hone_jvalue *value);
hone_jvalue *hone_jinja_look_up(hone_jrender *r, const hone_jscope *scope, const char *name);
hone_jvalue *hone_jinja_eval(hone_jrender *r, const hone_jnode *node, hone_jscope *scope);
bool hone_jinja_args(hone_jrender *r, const hone_jnode *node, hone_jscope *scope, hone_jargs *args);
hone_jvalue *hone_jinja_capture(hone_jrender *r, const hone_jnodes *body, hone_jscope *scope); // what a block writes, as TEXT
hone_jvalue *hone_jinja_apply(hone_jrender *r, const hone_jfunction *table, int rows, const char *what, const char *name, hone_jvalue *self, const hone_jargs *args);
hone_jvalue *hone_jinja_call(hone_jrender *r, hone_jvalue *function, const hone_jargs *args);
hone_jvalue *hone_jinja_attribute(hone_jrender *r, hone_jvalue *value, const char *name);   // value.name, UNDEFINED where there is none
hone_jvalue *hone_jinja_item(hone_jrender *r, hone_jvalue *value, hone_jvalue *key);        // value[key]
hone_jvalue *hone_jinja_filter(hone_jrender *r, const char *name, hone_jvalue *value, const hone_jargs *args);  // jinja_filter.c
hone_jvalue *hone_jinja_test(hone_jrender *r, const char *name, hone_jvalue *value, const hone_jargs *args);
const hone_jfunction *hone_jinja_method(const hone_jvalue *value, const char *name);        // jinja_method.c; NULL none
const hone_jfunction *hone_jinja_global(const char *name);
hone_jvalue *hone_jinja_named(const hone_jargs *args, const char *name);                    // NULL: not given
// Argument `index`, which may also be given as `name`; NULL: neither.
static inline hone_jvalue *hone_jinja_argument(const hone_jargs *args, int index, const char *name) { return index < args->n ? args->at[index] : hone_jinja_named(args, name); }
hone_status hone_jinja_undefined(const hone_jvalue *value);                                 // fails: it was used
