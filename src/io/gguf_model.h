// gguf_model.h: a model as a GGUF file: sizes from its values, weights from its tensors (names: gguf_names.def), in any of the
// block formats of base/blocks.def. The tokenizer in the same file is text/gguf_vocab.c's.
#pragma once
#include "base/gguf.h"
#include "model/decoder.h"
#include "text/tokenizer.h"

// The config that the file's values and tensors say. Refused by name: an architecture, a rotary scaling that hone lacks.
hone_status hone_gguf_read_config(hone_config *config, const char *path);

// Reads all weights to where data(context, tid) says. The file's tensors must be exactly the model's. Call
// hone_model_fill_constants afterwards.
hone_status hone_gguf_load(const hone_model *model, const char *path, hone_place_fn data, void *context);

// What a file has each parameter in, own (n_param,): HONE_DTYPE_COUNT where that is plain numbers.
hone_status hone_gguf_own_blocks(const hone_model *model, const char *path, hone_dtype *own);

// A row of ARCH.
typedef struct hone_gguf_arch { const char *name, *model_type; bool turned, fused; int64_t window, large; } hone_gguf_arch;
#define HONE_GGUF_WINDOW "attention.sliding_window"
double hone_gguf_attention_scale(const hone_gguf_arch *arch, const hone_config *config);      // what llama.cpp multiplies scores by
hone_status hone_gguf_check_sayable(const hone_gguf_arch *arch, const hone_config *config);   // what a file cannot say is refused by name

// The tensors of a model in the order they are written.
typedef struct hone_gguf_entry {
    char *name;
    hone_tid param;
    int64_t rows, columns;       // in the file; a vector is one row, or where it is turned one column
    int rank;
    int64_t turned;              // head size where rows lie in the order of rotary pairs, else 0
    float base;                  // what the file has on top: 1 of gains that the family keeps less 1
} hone_gguf_entry;
typedef struct hone_gguf_map { const hone_gguf_arch *arch; hone_gguf_entry *entry; int64_t count; } hone_gguf_map;
hone_status hone_gguf_map_build(hone_gguf_map *map, const hone_model *model);
bool hone_gguf_fits(const hone_gguf_entry *entry, const hone_gguf_tensor *tensor);   // shape, and whole blocks in a row
void hone_gguf_map_release(hone_gguf_map *map);

const char *hone_gguf_size_name(int index, size_t *field);     // the rows of SIZE; NULL behind the last
const char *hone_gguf_real_name(int index, size_t *field);     // of REAL

// Row r of the file is row hone_gguf_row(turned, r) of the parameter.
//     file, a head of D = 6:  0 3 1 4 2 5
static inline int64_t hone_gguf_row(int64_t turned, int64_t r)
{
    return turned ? r / turned * turned + r % 2 * (turned / 2) + r % turned / 2 : r;
}

// Of Llama 3's rotary scaling GGUF keeps what each frequency is divided by: rope_freqs.weight (D/2,). factor has room for D, the
// second half is scratch.
void hone_gguf_rope_factors(const hone_config *config, float *factor);

// Which format each tensor of a file is written in.
typedef struct hone_gguf_kind {
    const char *name; uint32_t file_type;        // "q8_0"; llama.cpp's number of it
    hone_blocks matrix, finer, odd_rows, odd_finer;  // most matrices; the sensitive ones; both where rows are no whole blocks of those
    double most_off;                             // relative error of a tensor that the format explains
} hone_gguf_kind;
const hone_gguf_kind *hone_gguf_kind_find(const char *name);   // NULL: none of that name
const hone_gguf_kind *hone_gguf_kind_at(int index);            // NULL behind the last

// Writes model, tokenizer (NULL: none) and chat template (NULL: the tokenizer's own) to `path`, whole or not at all.
hone_status hone_gguf_save(const hone_model *model, const char *path, const char *title, const hone_gguf_kind *kind, const hone_tokenizer *tokenizer,
                           const char *chat_template, hone_place_fn data, void *context);

// Reads the file again and compares it with the model in memory: sizes, and how far its weights are off: root mean square of the
// differences over that of the weights. Fails where that is more than the format explains.
hone_status hone_gguf_compare(const hone_model *model, const char *path, const hone_gguf_kind *kind, hone_place_fn data, void *context, double *off);
