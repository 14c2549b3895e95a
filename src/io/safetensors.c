// safetensors.c: the reader's checks, in the order in which a lie would hurt; conversions; the streaming writer.
#include "io/safetensors.h"
#include "base/json.h"
#include "base/memory.h"
#include <inttypes.h>
#include <string.h>

enum { MAX_HEADER_BYTES = 100000000 };   // the format's own bound
enum { DROP_BYTES = 2 << 20 };           // resident pages of a map while it is read

// Types that files may hold. hone reads those of dtypes.def; the others may stand in a file as ignorable buffers.
typedef struct { const char *name; size_t bytes; hone_dtype kind; } file_type;
static const file_type file_types[] = {
#define DTYPE(name, bytes, file_name, is_float) { file_name, bytes, HONE_##name },
#include "graph/dtypes.def"
#undef DTYPE
    { "I64", 8, HONE_DTYPE_COUNT }, { "U64", 8, HONE_DTYPE_COUNT }, { "U32", 4, HONE_DTYPE_COUNT }, { "I16", 2, HONE_DTYPE_COUNT },
    { "U16", 2, HONE_DTYPE_COUNT }, { "BOOL", 1, HONE_DTYPE_COUNT },
};

static const file_type *find_type(const char *name)
{
    for (size_t i = 0; i < sizeof file_types / sizeof file_types[0]; i++)
        if (strcmp(file_types[i].name, name) == 0) return &file_types[i];
    return NULL;
}

// Non-negative integer, or -1.
static int64_t whole(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= 0 ? json_integer_value(value) : -1;
}

// One entry of the header. data_bytes: what the file has behind the header.
static hone_status read_entry(hone_safetensor *t, const char *path, const char *name, const json_t *entry, size_t data_bytes)
{
    const json_t *shape = json_object_get(entry, "shape"), *offsets = json_object_get(entry, "data_offsets");
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    if (!dtype || !json_is_array(shape) || !json_is_array(offsets) || json_array_size(offsets) != 2)
        return hone_fail("%s: tensor %.100s: the header must give dtype, shape and two data_offsets; the file is damaged, fetch it again", path, name);
    const file_type *type = find_type(dtype);
    if (!type) return hone_fail("%s: tensor %.100s has dtype \"%.20s\", which hone does not know; it reads F32, BF16 and F16", path, name, dtype);
    if (json_array_size(shape) > HONE_SAFETENSOR_RANK)
        return hone_fail("%s: tensor %.100s has %zu dimensions; hone knows up to %d", path, name, json_array_size(shape), HONE_SAFETENSOR_RANK);
    t->dtype = type->name;
    t->kind = type->kind;
    t->rank = (int)json_array_size(shape);
    t->count = 1;
    for (int d = 0; d < t->rank; d++) {
        t->dim[d] = whole(json_array_get(shape, (size_t)d));
        if (t->dim[d] < 0) return hone_fail("%s: tensor %.100s: dimension %d is not a size; the file is damaged, fetch it again", path, name, d);
        if (__builtin_mul_overflow(t->count, t->dim[d], &t->count)) t->count = INT64_MAX, d = t->rank;
    }
    int64_t begin = whole(json_array_get(offsets, 0)), end = whole(json_array_get(offsets, 1)), need;
    if (begin < 0 || end < begin)
        return hone_fail("%s: tensor %.100s: data_offsets are not a range; the file is damaged, fetch it again", path, name);
    if ((uint64_t)end > data_bytes)
        return hone_fail("%s: tensor %.100s ends at byte %" PRId64 " of the data but the file has only %zu; the download was probably "
                         "cut short, fetch it again", path, name, end, data_bytes);
    if (__builtin_mul_overflow(t->count, (int64_t)type->bytes, &need) || need != end - begin)
        return hone_fail("%s: tensor %.100s: its shape and dtype %s do not make the %" PRId64 " bytes of its data_offsets; the file is damaged, "
                         "fetch it again", path, name, dtype, end - begin);
    t->begin = (size_t)begin;
    t->size = (size_t)need;
    t->name = hone_strdup(name);
    return t->name ? HONE_OK : HONE_FAILED;
}

static int by_place(const void *a, const void *b)
{
    const hone_safetensor *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->size > y->size) - (x->size < y->size);   // an empty one before its neighbour
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const hone_safetensor *)a)->name, ((const hone_safetensor *)b)->name);
}

// The tensors must lie one behind the other and reach the end of the file.
static hone_status check_places(hone_safetensor *tensor, int64_t count, const char *path, size_t data_bytes)
{
    size_t at = 0;
    if (count > 1) qsort(tensor, (size_t)count, sizeof *tensor, by_place);
    for (int64_t i = 0; i < count; i++) {
        if (tensor[i].begin < at)
            return hone_fail("%s: tensors %.100s and %.100s overlap; the file is damaged, fetch it again", path, tensor[i - 1].name, tensor[i].name);
        if (tensor[i].begin > at)
            return hone_fail("%s: %zu bytes in front of tensor %.100s belong to none; the file is damaged, fetch it again", path,
                             tensor[i].begin - at, tensor[i].name);
        at = tensor[i].begin + tensor[i].size;
    }
    if (at != data_bytes) return hone_fail("%s: the last %zu bytes belong to no tensor; the file is damaged, fetch it again", path, data_bytes - at);
    return HONE_OK;
}

static hone_status parse_header(const hone_map *map, const char *path, json_t **header, size_t *data_at)
{
    uint64_t n;
    json_error_t error;
    if (map->size < 8) return hone_fail("%s: has %zu bytes, too few for a safetensors file; fetch it again", path, map->size);
    memcpy(&n, map->data, 8);   // little-endian, as this machine
    if (n > map->size - 8)
        return hone_fail("%s: header claims %" PRIu64 " bytes but the file has %zu; the download was probably cut short (or it is no "
                         "safetensors file), fetch it again", path, n, map->size);
    if (n > MAX_HEADER_BYTES) return hone_fail("%s: header of %" PRIu64 " bytes; the format allows %d", path, n, MAX_HEADER_BYTES);
    if (n < 2 || map->data[8] != '{') return hone_fail("%s: the header is not a JSON object; this is no safetensors file", path);
    *header = json_loadb((const char *)map->data + 8, (size_t)n, JSON_REJECT_DUPLICATES, &error);
    if (!*header)
        return hone_fail("%s: the header is not valid JSON (byte %d: %s); the file is damaged, fetch it again", path, error.position, error.text);
    if (!json_is_object(*header)) return hone_fail("%s: the header is not a JSON object; this is no safetensors file", path);
    *data_at = 8 + (size_t)n;
    return HONE_OK;
}

// Adds a file's tensors to the set.
static hone_status add_file(hone_safetensors *set, const char *path)
{
    json_t *header = NULL, *entry;
    const char *name;
    size_t data_at = 0;
    hone_safetensors_file *files = hone_realloc(set->file, (size_t)set->n_file + 1, sizeof *files);
    if (!files) return HONE_FAILED;
    set->file = files;
    hone_safetensors_file *file = &files[set->n_file];
    *file = (hone_safetensors_file){ .path = hone_strdup(path) };
    if (!file->path) return HONE_FAILED;
    hone_status status = hone_map_open(&file->map, path);
    if (status) {
        hone_free(file->path);
        return status;
    }
    int index = (int)set->n_file++;
    if ((status = parse_header(&file->map, path, &header, &data_at))) goto out;

    hone_safetensor *all = hone_realloc(set->tensor, (size_t)set->count + json_object_size(header) + 1, sizeof *all);
    if (!all) { status = HONE_FAILED; goto out; }
    set->tensor = all;
    int64_t first = set->count;
    json_object_foreach(header, name, entry) {
        if (strcmp(name, "__metadata__") == 0) continue;
        hone_safetensor *t = &all[set->count];
        *t = (hone_safetensor){ .file = index };
        if ((status = read_entry(t, path, name, entry, file->map.size - data_at))) goto out;
        set->count++;
    }
    if ((status = check_places(all + first, set->count - first, path, file->map.size - data_at))) goto out;
    for (int64_t i = first; i < set->count; i++) all[i].begin += data_at;
out:
    json_decref(header);
    return status;
}

static hone_status finish(hone_safetensors *set, hone_status status)
{
    if (set->count > 1) qsort(set->tensor, (size_t)set->count, sizeof *set->tensor, by_name);
    for (int64_t i = 1; !status && i < set->count; i++)
        if (strcmp(set->tensor[i - 1].name, set->tensor[i].name) == 0)
            status = hone_fail("%s: tensor %.100s also stands in %s; keep one of the files", hone_safetensor_path(set, &set->tensor[i]),
                               set->tensor[i].name, hone_safetensor_path(set, &set->tensor[i - 1]));
    hone_safetensors_drop(set);
    if (status) hone_safetensors_close(set);
    return status;
}

hone_status hone_safetensors_open(hone_safetensors *set, const char *path)
{
    *set = (hone_safetensors){ 0 };
    return finish(set, add_file(set, path));
}

// The index maps names to files. Its files are opened once each; every name must then be where the index says.
static hone_status add_index(hone_safetensors *set, const char *folder, const char *index_path)
{
    json_t *index = NULL;
    hone_status status = hone_json_load(index_path, &index);
    if (status) return status;
    json_t *map = json_object_get(index, "weight_map"), *value;
    const char *name;
    if (!json_is_object(map)) status = hone_fail("%s: weight_map is missing; fetch the file again", index_path);
    for (void *at = status ? NULL : json_object_iter(map); at && !status; at = json_object_iter_next(map, at)) {
        const char *file = json_string_value(json_object_iter_value(at));
        if (!file || !file[0] || strchr(file, '/')) {
            status = hone_fail("%s: %.100s must name a file of this folder", index_path, json_object_iter_key(at));
            break;
        }
        char *path = hone_path_join(folder, file);
        bool known = false;
        for (int64_t i = 0; path && i < set->n_file; i++) known = known || strcmp(set->file[i].path, path) == 0;
        if (!path) status = HONE_FAILED;
        else if (!known) status = add_file(set, path);
        hone_free(path);
    }
    if (!status && set->count > 1) qsort(set->tensor, (size_t)set->count, sizeof *set->tensor, by_name);
    if (!status) json_object_foreach(map, name, value)
        if (!hone_safetensors_find(set, name)) {
            status = hone_fail("%s: tensor %.100s is not in %.100s; fetch that file again", index_path, name, json_string_value(value));
            break;
        }
    json_decref(index);
    return status;
}

hone_status hone_safetensors_open_folder(hone_safetensors *set, const char *folder)
{
    *set = (hone_safetensors){ 0 };
    char *whole_path = hone_path_join(folder, "model.safetensors"), *index_path = hone_path_join(folder, "model.safetensors.index.json");
    hone_status status = HONE_FAILED;
    if (whole_path && index_path) {
        if (!hone_file_exists(whole_path) && hone_file_exists(index_path)) status = finish(set, add_index(set, folder, index_path));
        else if (hone_file_exists(whole_path)) status = hone_safetensors_open(set, whole_path);
        else status = hone_fail("%s: has neither model.safetensors nor model.safetensors.index.json; is it a Hugging Face model folder?", folder);
    }
    hone_free(whole_path);
    hone_free(index_path);
    return status;
}

void hone_safetensors_close(hone_safetensors *set)
{
    for (int64_t i = 0; i < set->count; i++) hone_free(set->tensor[i].name);
    for (int64_t i = 0; i < set->n_file; i++) {
        hone_map_close(&set->file[i].map);
        hone_free(set->file[i].path);
    }
    hone_free(set->tensor);
    hone_free(set->file);
    *set = (hone_safetensors){ 0 };
}

const hone_safetensor *hone_safetensors_find(const hone_safetensors *set, const char *name)
{
    int64_t low = 0, high = set->count;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        int order = strcmp(set->tensor[middle].name, name);
        if (order == 0) return &set->tensor[middle];
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return NULL;
}

const char *hone_safetensor_path(const hone_safetensors *set, const hone_safetensor *tensor) { return set->file[tensor->file].path; }

void hone_safetensors_drop(const hone_safetensors *set)
{
    for (int64_t i = 0; i < set->n_file; i++) hone_map_drop(&set->file[i].map);
}

// Conversions ---------------------------------------------------------------------------------------------------------

bool hone_safetensor_converts(const hone_safetensor *tensor, hone_dtype to)
{
    return tensor->kind != HONE_DTYPE_COUNT && (tensor->kind == to || (to == HONE_f32 && (tensor->kind == HONE_bf16 || tensor->kind == HONE_f16)));
}

// memcpy everywhere: the format promises no alignment.
static void convert(const hone_safetensor *tensor, const uint8_t *data, int64_t count, hone_dtype to, uint8_t *out)
{
    if (tensor->kind == to) {
        memcpy(out, data, (size_t)count * hone_dtype_bytes(to));
        return;
    }
    for (int64_t i = 0; i < count; i++) {
        uint16_t h;
        memcpy(&h, data + 2 * i, 2);
        float y = tensor->kind == HONE_bf16 ? hone_bf16_to_f32(h) : hone_f16_to_f32(h);
        memcpy(out + 4 * i, &y, 4);
    }
}

void hone_safetensor_read(const hone_safetensors *set, const hone_safetensor *tensor, int64_t first, int64_t count, hone_dtype to, void *out)
{
    HONE_ASSERT(first >= 0 && count >= 0 && count <= tensor->count - first, "%s: [%" PRId64 ", +%" PRId64 ") of %" PRId64, tensor->name, first, count, tensor->count);
    HONE_ASSERT(hone_safetensor_converts(tensor, to), "%s: %s to %s", tensor->name, tensor->dtype, hone_dtype_name(to));
    if (count == 0) return;   // an empty file has no map
    int64_t bytes = (int64_t)hone_dtype_bytes(tensor->kind), piece = DROP_BYTES / bytes;
    hone_safetensors_file *file = &set->file[tensor->file];
    const uint8_t *data = file->map.data + tensor->begin + first * bytes;
    for (int64_t at = 0; at < count; at += piece) {
        int64_t n = count - at < piece ? count - at : piece;
        convert(tensor, data + at * bytes, n, to, (uint8_t *)out + (size_t)at * hone_dtype_bytes(to));
        file->touched_bytes += n * bytes;
        if (file->touched_bytes < DROP_BYTES) continue;
        file->touched_bytes = 0;
        hone_map_drop(&file->map);
    }
}

// Writing -------------------------------------------------------------------------------------------------------------

static size_t spec_bytes(const hone_safetensor_spec *spec)
{
    size_t bytes = hone_dtype_bytes(spec->dtype);
    for (int d = 0; d < spec->rank; d++) bytes *= (size_t)spec->dim[d];
    return bytes;
}

// {"format": "pt"} is what transformers asks for.
static hone_status build_header(const hone_safetensor_spec *spec, int64_t count, hone_buffer *text)
{
    static const char *const names[] = {
#define DTYPE(name, bytes, file_name, is_float) file_name,
#include "graph/dtypes.def"
#undef DTYPE
    };
    size_t at = 0;
    hone_status status = hone_buffer_print(text, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (int64_t i = 0; i < count && !status; i++) {
        const hone_safetensor_spec *s = &spec[i];
        HONE_ASSERT(!strpbrk(s->name, "\"\\") && s->name[0], "tensor name %s", s->name);
        status = hone_buffer_print(text, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", s->name, names[s->dtype]);
        for (int d = 0; d < s->rank && !status; d++) status = hone_buffer_print(text, "%s%" PRId64, d ? "," : "", s->dim[d]);
        if (!status) status = hone_buffer_print(text, "],\"data_offsets\":[%zu,%zu]}", at, at + spec_bytes(s));
        at += spec_bytes(s);
    }
    if (!status) status = hone_buffer_print(text, "}");
    while (!status && text->size % 8) status = hone_buffer_append(text, " ", 1);   // data starts aligned
    return status;
}

hone_status hone_safetensors_write(hone_writer *writer, const hone_safetensor_spec *spec, int64_t count,
                                   hone_safetensors_source source, void *context, void *scratch, size_t scratch_bytes)
{
    hone_buffer text = { 0 };
    hone_status status = build_header(spec, count, &text);
    uint64_t n = text.size;
    if (!status) status = hone_writer_write(writer, &n, 8);
    if (!status) status = hone_writer_write(writer, text.data, text.size);
    hone_buffer_release(&text);
    for (int64_t i = 0; i < count && !status; i++) {
        size_t bytes = hone_dtype_bytes(spec[i].dtype);
        int64_t total = (int64_t)(spec_bytes(&spec[i]) / bytes), piece = (int64_t)(scratch_bytes / bytes);
        for (int64_t at = 0; at < total && !status; at += piece) {
            int64_t k = total - at < piece ? total - at : piece;
            const void *data = source(context, i, at, k, scratch);
            status = data ? hone_writer_write(writer, data, (size_t)k * bytes) : HONE_FAILED;
        }
    }
    return status;
}
