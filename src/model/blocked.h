// blocked.h: frozen matrices kept in blocks of few bits (QLoRA; Dettmers et al. 2023, arXiv:2305.14314).
//
//     rows of a file, f32 -> hash of what was read
//                         -> blocks in memory (base/blocks.def) -> op pack, at each use -> a form that products read
//
// At no time, loading included, is more of them in memory as numbers than a piece. What the base is, is known by the hash of its
// numbers before they were rounded to blocks: so an adapter fits the same base whatever it was trained on in memory.
//
// Use: hone_lora_declare -> hone_model_keep_blocked -> hone_model_build_* -> ... loaders write rows by hone_blocked_write.
#pragma once
#include "base/file.h"
#include "graph/tensor.h"

struct hone_model;

// The matrices of blocks from features to features, all of them frozen, from here on in blocks of `dtype`, the other frozen ones (embedding,
// head) in `tables`: f32, or bf16, to which a head in narrow numbers rounds them anyway. own: (n_param,) the
// blocks that a file has each parameter in, HONE_DTYPE_COUNT none: a storage whose parameters agree is kept as the file has it,
// one of several kinds in Q8_0. NULL: no file. Fails where a matrix' rows are no whole blocks, and names it.
hone_status hone_model_keep_blocked(struct hone_model *model, hone_dtype dtype, const hone_dtype *own, hone_dtype tables);
static inline bool hone_is_kept_narrow(const hone_tensor *param) { return hone_dtype_is_blocked(param->dtype) || param->dtype == HONE_bf16; }
bool hone_model_is_blocked(const struct hone_model *model);
const char *hone_model_blocked_title(const struct hone_model *model);   // "NF4", or "several kinds of blocks"

// Rows of a parameter in blocks, from first to last.
typedef struct hone_blocked_writer {
    hone_dtype dtype;
    int64_t columns;
    uint8_t *to;            // where the next row goes
    hone_hash_stream *hash;
    uint64_t *noted;        // where the hash belongs in the end
} hone_blocked_writer;
hone_status hone_blocked_open(hone_blocked_writer *writer, const struct hone_model *model, hone_tid param, void *place);
// as: the same rows as a file has them in blocks of this dtype, which are taken over bit for bit; or NULL.
void hone_blocked_write(hone_blocked_writer *writer, const float *x, int64_t rows, const void *as);
void hone_blocked_close(hone_blocked_writer *writer);
