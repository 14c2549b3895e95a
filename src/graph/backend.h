// backend.h: the seam. Everything that hone asks of a chip is in this file; a new chip is one folder under backend/.
//
// Preconditions that every kernel may rely on (stated once): operand data 64-byte aligned unless the operand is a view
// (then aligned to its element); row-major contiguous; shapes and dtypes checked against ops.def; outputs do not overlap
// inputs except where the op's HONE_INPLACE(k) says so and layout chose it (then out 0 and in k are the same pointer) or
// where an update output is the same tensor; workspace 64-byte aligned, of the bytes that workspace_bytes() asked for, not
// shared with a node that runs at the same time. A kernel allocates nothing and never fails.
#pragma once
#include "graph/graph.h"

enum { HONE_BACKEND_ABI = 4 };

typedef struct hone_operand {
    void *data;               // NULL: absent (or, in supports/workspace_bytes, not placed yet: look at `present`)
    const int32_t *live;      // live count of dim 0, NULL: all of it
    int64_t dim[HONE_MAX_RANK];
    int32_t rank;
    hone_dtype dtype;
    hone_form form;
    bool present;
} hone_operand;

typedef struct hone_args {    // one node as a kernel sees it; made once per program, read-only in a run
    hone_op op;
    hone_attr attr;
    hone_operand in[HONE_MAX_IN], out[HONE_MAX_OUT];
    bool same_kv;             // attention(_back): inputs q and kv are one tensor
    void *workspace;
    size_t workspace_bytes;
} hone_args;

static inline int64_t hone_rows(const hone_operand *o) { return o->live ? (int64_t)*o->live : o->dim[0]; }

// Shapes, dtypes and presence of a node's operands, not their places.
void hone_args_describe(const hone_graph *graph, const hone_node *node, hone_args *args);

typedef enum { HONE_SPACE_DEVICE, HONE_SPACE_HOST, HONE_SPACE_COUNT } hone_space;    // HOST: where copies to and from the device need no stop between
// Streams: what is asked of one runs in that order, each beside the others; events 0 .. HONE_EVENTS - 1 order one behind another.
enum { HONE_STREAM_COMPUTE, HONE_STREAM_IN, HONE_STREAM_OUT, HONE_STREAMS, HONE_EVENTS = 64 };  // copies to the device, and back (graph/moves.h)
typedef struct hone_backend_options { int threads; int force_isa; } hone_backend_options; // force_isa: 1 + hone_isa; 0 = HONE_ISA, else the best

typedef struct hone_backend {
    uint32_t abi;                       // HONE_BACKEND_ABI
    uint64_t (*op_table_hash)(void);    // hone_op_table_hash() of what it was built with
    const char *name;
    bool folds;                         // op pack takes b and a
    hone_status (*open)(const hone_backend_options *options, void **self);
    void (*close)(void *self);
    // Memory. copy is ordered within its stream; on a CPU it is memcpy.
    hone_status (*alloc)(void *self, hone_space space, size_t bytes, void **pointer);
    void (*release)(void *self, hone_space space, void *pointer, size_t bytes);
    void (*copy)(void *self, void *to, const void *from, size_t bytes, int stream);
    void (*clear)(void *self, void *to, size_t bytes, int stream); // zeroes; NULL: the host does
    // Bytes of a weight (M, K) in a form. 0 = this backend does not use that form (the forms pass then makes no node).
    size_t (*form_bytes)(void *self, hone_form form, hone_dtype dtype, int64_t M, int64_t K);
    // Nodes: by shape only, before data has a place.
    bool (*supports)(void *self, const hone_args *args, const char **why_not);
    size_t (*workspace_bytes)(void *self, const hone_args *args);
    hone_status (*prepare)(void *self, const hone_args *args, void **handle); // once per program; optional (NULL)
    void (*run)(void *self, const hone_args *args, void *handle, int stream);
    // Streams. NULL where a backend has one. wait: what is asked of the stream from here on runs behind all that stood before the event's
    // last record; one that was never recorded holds nothing up.
    void (*record)(void *self, int event, int stream);
    void (*wait)(void *self, int event, int stream);
    void (*synchronize)(void *self);
    void *(*native_stream)(void *self, int stream); // NULL where the device's memory is the host's
    // Capture of many nodes (CUDA graphs; graph/capture.h). NULL: the executor walks the list.
    hone_status (*capture_begin)(void *self);
    hone_status (*capture_end)(void *self, void **captured);
    void (*replay)(void *self, void *captured);
    void (*forget)(void *self, void *captured);     // it is not under way
} hone_backend;

static inline bool hone_backend_is_apart(const hone_backend *b) { return b->native_stream != NULL; } // its memory is none of the host's

// By name from backends.def ("cpu", "ref"), or by path of a shared object that exports `const hone_backend hone_backend_plugin`.
// ABI and op-table hash are checked. Lives in backend/registry.c.
hone_status hone_backend_find(const char *name_or_path, const hone_backend **backend);
