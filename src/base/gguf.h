// gguf.h: GGUF files (the model files of llama.cpp): named values, named tensors, one file, little-endian.
//
//     "GGUF" | u32 version | u64 tensors | u64 values | values | tensor table | padding | data
//     value:   name | u32 type | content          an array: u32 type | u64 count | contents; a string: u64 size | bytes
//     tensor:  name | u32 rank | u64 dim ... | u32 type | u64 offset in data          the first dim is the fastest
//
// Reading maps the file and believes nothing: every length, type, name and place is checked before it is used. Afterwards each
// value's content and each tensor's bytes lie within the map, so no reader checks again. What a name means, others know
// (io/gguf_model.h, text/gguf_vocab.c).
//
// Writing is in two steps: values and tensors are named into a hone_gguf_head, which lays them out; then the head goes to a
// writer and the data behind it, tensor by tensor in the same order.
#pragma once
#include "base/blocks.h"
#include "base/file.h"
#include "base/memory.h"

typedef enum {
    HONE_GGUF_U8, HONE_GGUF_I8, HONE_GGUF_U16, HONE_GGUF_I16, HONE_GGUF_U32, HONE_GGUF_I32, HONE_GGUF_F32, HONE_GGUF_BOOL,
    HONE_GGUF_TEXT, HONE_GGUF_ARRAY, HONE_GGUF_U64, HONE_GGUF_I64, HONE_GGUF_F64, HONE_GGUF_TYPES
} hone_gguf_type;   // the numbers of the format

enum { HONE_GGUF_RANK = 4 };

typedef struct hone_gguf_value {
    char *name;
    hone_gguf_type type;            // of the elements, where it is an array
    bool array;
    int64_t count;                  // elements; 1 where it is no array
    const uint8_t *data;            // the first of them, in the map, unaligned
} hone_gguf_value;

typedef struct hone_gguf_tensor {
    char *name;
    uint32_t type; hone_blocks blocks;   // HONE_BLOCKS_COUNT: a type that hone does not read; its size is not known
    int rank; int64_t dim[HONE_GGUF_RANK];
    int64_t count;                  // elements
    size_t begin, size;             // bytes in the file
} hone_gguf_tensor;

typedef struct hone_gguf {
    char *path;
    hone_map map;
    hone_gguf_value *value; int64_t n_value;       // as in the file
    hone_gguf_tensor *tensor; int64_t n_tensor;    // sorted by name
} hone_gguf;

bool hone_gguf_is(const char *path);     // a file that begins as a GGUF file does
hone_status hone_gguf_open(hone_gguf *file, const char *path);
void hone_gguf_close(hone_gguf *file);

const hone_gguf_value *hone_gguf_find(const hone_gguf *file, const char *name);             // NULL if absent
const hone_gguf_tensor *hone_gguf_find_tensor(const hone_gguf *file, const char *name);
// Reads a value. Absent: *out stays as it is, or an error where `required`. Wrong kind: an error that names file and value.
hone_status hone_gguf_int(const hone_gguf *file, const char *name, bool required, int64_t *out);
hone_status hone_gguf_real(const hone_gguf *file, const char *name, bool required, double *out);
hone_status hone_gguf_bool(const hone_gguf *file, const char *name, bool required, bool *out);
hone_status hone_gguf_text(const hone_gguf *file, const char *name, bool required, char **out);     // hone_free() it; without a NUL inside
// Arrays: of texts, of f32, of i32 (or u32 below 2^31).
hone_status hone_gguf_array(const hone_gguf *file, const char *name, bool required, hone_gguf_type type, const hone_gguf_value **out);
const char *hone_gguf_next_text(const uint8_t **at, size_t *size);   // *at starts at value->data
float hone_gguf_f32_at(const hone_gguf_value *array, int64_t index);
int32_t hone_gguf_i32_at(const hone_gguf_value *array, int64_t index);

// Writing. A failed put leaves the head failed; hone_gguf_head_write then says so.
typedef struct hone_gguf_head {
    hone_buffer values, tensors;
    uint64_t n_value, n_tensor, data_bytes;
    bool failed;
} hone_gguf_head;
void hone_gguf_put_u32(hone_gguf_head *head, const char *name, uint32_t value);
void hone_gguf_put_f32(hone_gguf_head *head, const char *name, float value);
void hone_gguf_put_bool(hone_gguf_head *head, const char *name, bool value);
void hone_gguf_put_text(hone_gguf_head *head, const char *name, const char *text, size_t size);
void hone_gguf_put_array(hone_gguf_head *head, const char *name, hone_gguf_type type, uint64_t count);  // its elements follow, by the calls below
void hone_gguf_add_text(hone_gguf_head *head, const char *text, size_t size);
void hone_gguf_add_word(hone_gguf_head *head, const void *four_bytes);
// The next tensor; dims fastest first, whole blocks of dim[0].
void hone_gguf_put_tensor(hone_gguf_head *head, const char *name, hone_blocks blocks, int rank, const int64_t *dim);
hone_status hone_gguf_head_write(hone_gguf_head *head, hone_writer *writer);
hone_status hone_gguf_pad(hone_writer *writer);      // behind each tensor's data, and behind the head (which does so itself)
void hone_gguf_head_release(hone_gguf_head *head);
