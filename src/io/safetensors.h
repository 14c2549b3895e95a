// safetensors.h: tensors in files, as the Hugging Face world keeps them.
//
//     u64 n | n bytes of JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...} | data
//
// Reading maps the file and believes nothing: length, JSON, names, dtypes, shapes and offsets are checked before the first
// byte of data is touched; the tensors must fill the data without overlap or gap. Afterwards every tensor's bytes lie
// within the map, so no reader checks again. A set is one file, or the files that model.safetensors.index.json names.
//
// Writing streams: a callback hands over the data piece by piece, so no second copy of it exists.
#pragma once
#include "base/file.h"
#include "base/half.h"
#include "graph/tensor.h"

enum { HONE_SAFETENSOR_RANK = 8 };

typedef struct hone_safetensor {
    char *name;
    const char *dtype;              // as in the file: "F32", "BOOL" ...
    hone_dtype kind;                // HONE_DTYPE_COUNT where hone has no such type: listed, not readable
    int rank; int64_t dim[HONE_SAFETENSOR_RANK];
    int64_t count;                  // elements
    size_t begin, size;             // bytes within the map
    int file;                       // index into .file
} hone_safetensor;

typedef struct hone_safetensors_file {
    char *path;
    hone_map map;
    int64_t touched_bytes;          // read since resident pages were last let go
} hone_safetensors_file;

typedef struct hone_safetensors {
    hone_safetensors_file *file; int64_t n_file;
    hone_safetensor *tensor; int64_t count;      // sorted by name
} hone_safetensors;

hone_status hone_safetensors_open(hone_safetensors *set, const char *path);         // one file
hone_status hone_safetensors_open_folder(hone_safetensors *set, const char *folder); // model.safetensors, or its index
void hone_safetensors_close(hone_safetensors *set);
const hone_safetensor *hone_safetensors_find(const hone_safetensors *set, const char *name); // NULL if absent

// Elements [first, first + count) to f32 (from F32, BF16, F16), or as they are where `to` is the file's own type. Other
// conversions do not exist: the caller checks with hone_safetensor_converts(). Lets the map's resident pages go every few
// MiB, so that loading does not double the process.
bool hone_safetensor_converts(const hone_safetensor *tensor, hone_dtype to);
void hone_safetensor_read(const hone_safetensors *set, const hone_safetensor *tensor, int64_t first, int64_t count,
                          hone_dtype to, void *out);
const char *hone_safetensor_path(const hone_safetensors *set, const hone_safetensor *tensor);
void hone_safetensors_drop(const hone_safetensors *set);   // lets them go now

typedef struct hone_safetensor_spec { const char *name; hone_dtype dtype; int rank; int64_t dim[HONE_MAX_RANK]; } hone_safetensor_spec;

// Elements [first, first + count) of tensor `index`: a pointer to them where they lie, or into `scratch`, filled. NULL and a
// message where they cannot be had.
typedef const void *(*hone_safetensors_source)(void *context, int64_t index, int64_t first, int64_t count, void *scratch);

// Writes the whole file content into an open writer (the caller commits). scratch_bytes bounds a piece.
hone_status hone_safetensors_write(hone_writer *writer, const hone_safetensor_spec *spec, int64_t count,
                                   hone_safetensors_source source, void *context, void *scratch, size_t scratch_bytes);
