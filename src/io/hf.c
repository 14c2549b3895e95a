// hf.c: the weights of a Hugging Face folder: which tensor is which parameter, and carrying them both ways.
//
// With y = x W^T every matrix of hone is (out, in). `transposed` is file[i][o] = W[o][i]; parts lie side by side in o:
//
//     file (in, 3 out)   | q^T | k^T | v^T |          file (3 out)   | q | k | v |
#include "io/hf.h"
#include "base/memory.h"
#include "io/gguf_model.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SCRATCH_BYTES = 1 << 20, DIRECT_BYTES = 128 << 10 };

// Entries of rows [first, behind) that share one {layer}: consecutive rows of one file name are the parts of one tensor.
static hone_status add_entry(hone_hf_map *map, int64_t *capacity, const hone_model *model, const hone_weight_row *row, int64_t layer)
{
    hone_status status = hone_grow(&map->entry, map->count, capacity, sizeof *map->entry);
    if (status) return status;
    hone_tid id = hone_weight_find(model->graph, row->param, layer);
    HONE_ASSERT(id != HONE_NONE, "families.def: %s has no parameter %s", model->config.family->model_type, row->param);
    HONE_ASSERT(row->part < row->parts && row->parts <= HONE_HF_PARTS, "families.def: part %d of %d of %s", row->part, row->parts, row->param);
    if (row->part > 0) {
        hone_hf_entry *last = &map->entry[map->count - 1];
        HONE_ASSERT(last->parts == row->parts && hone_tensor_count(hone_at(model->graph, id)) == hone_tensor_count(hone_at(model->graph, last->param[0])),
                    "families.def: parts of %s must be equal and stand together", row->file_name);
        last->param[row->part] = id;
        return HONE_OK;
    }
    const hone_tensor *t = hone_at(model->graph, id);
    hone_hf_entry entry = { .name = hone_weight_name(row->file_name, layer), .param = { id, HONE_NONE, HONE_NONE }, .parts = row->parts,
                            .transposed = row->transposed, .rank = t->rank };
    if (!entry.name) return HONE_FAILED;
    HONE_ASSERT(t->rank == 1 || t->rank == 2, "%s has rank %d", t->name, t->rank);
    int64_t rows = t->dim[0] * row->parts;
    entry.dim[0] = row->transposed ? t->dim[1] : rows;
    entry.dim[1] = t->rank == 1 ? 0 : row->transposed ? rows : t->dim[1];
    map->entry[map->count++] = entry;
    return HONE_OK;
}

hone_status hone_hf_map_build(hone_hf_map *map, const hone_model *model)
{
    const hone_family *family = model->config.family;
    hone_status status = HONE_OK;
    int64_t capacity = 0;
    *map = (hone_hf_map){ 0 };
    for (int r = 0; r < family->n_row && !status; ) {
        int behind = r + 1;   // rows of one block go round together, so that the file is in the order of the model
        bool layered = hone_weight_is_layered(family->row[r].file_name);
        while (layered && behind < family->n_row && hone_weight_is_layered(family->row[behind].file_name)) behind++;
        for (int64_t layer = 0; layer < (layered ? model->config.layers : 1) && !status; layer++)
            for (int i = r; i < behind && !status; i++)
                if (family->row[i].param && hone_config_has(&model->config, family->row[i].when, layer))
                    status = add_entry(map, &capacity, model, &family->row[i], layer);
        r = behind;
    }
    if (status) hone_hf_map_release(map);
    return status;
}

void hone_hf_map_release(hone_hf_map *map)
{
    for (int64_t i = 0; i < map->count; i++) hone_free(map->entry[i].name);
    hone_free(map->entry);
    *map = (hone_hf_map){ 0 };
}

// Loading -------------------------------------------------------------------------------------------------------------

// What does not fit, gathered so that one message tells all of it.
typedef struct { hone_buffer text; int64_t count; } complaint;
enum { NAMES_SHOWN = 4 };

static void complain(complaint *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void complain(complaint *c, const char *format, ...)
{
    if (c->count++ >= NAMES_SHOWN) return;
    char line[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    hone_buffer_print(&c->text, "%s%s", c->text.size ? ", " : "", line);
}

static void print_shape(char *text, size_t size, int rank, const int64_t *dim)
{
    size_t used = (size_t)snprintf(text, size, "[");
    for (int d = 0; d < rank && used < size; d++) used += (size_t)snprintf(text + used, size - used, "%s%" PRId64, d ? ", " : "", dim[d]);
    if (used < size) snprintf(text + used, size - used, "]");
}

// The tensor of an entry: under its full name, or without the base model's prefix (files of the base model alone).
static const hone_safetensor *find(const hone_safetensors *set, const hone_family *family, const char *name)
{
    const hone_safetensor *t = hone_safetensors_find(set, name);
    size_t prefix = strlen(family->prefix);
    if (!t && strncmp(name, family->prefix, prefix) == 0) t = hone_safetensors_find(set, name + prefix);
    return t;
}

static bool ignored(const hone_family *family, const char *name)
{
    size_t prefix = strlen(family->prefix);
    for (int r = 0; r < family->n_row; r++) {
        const hone_weight_row *row = &family->row[r];
        if (row->param) continue;
        if (hone_weight_matches(row->file_name, name)) return true;
        if (strncmp(row->file_name, family->prefix, prefix) == 0 && hone_weight_matches(row->file_name + prefix, name)) return true;
    }
    return false;
}

static bool shape_fits(const hone_safetensor *t, const hone_hf_entry *entry)
{
    return t->rank == entry->rank && t->dim[0] == entry->dim[0] && (t->rank < 2 || t->dim[1] == entry->dim[1]);
}

// The output matrix that a tied model does not have: files may carry it all the same. tied_to: the token embedding.
static const hone_safetensor *find_tied_head(const hone_safetensors *set, const hone_model *model, const hone_hf_map *map, const hone_hf_entry **tied_to)
{
    const hone_family *family = model->config.family;
    if (!model->config.tied) return NULL;
    for (int64_t i = 0; i < map->count; i++)
        if (map->entry[i].param[0] == model->embed) *tied_to = &map->entry[i];
    for (int r = 0; r < family->n_row; r++)
        if (family->row[r].param && strcmp(family->row[r].when, "untied") == 0) return hone_safetensors_find(set, family->row[r].file_name);
    return NULL;
}

static void complain_part(hone_buffer *text, const complaint *c, const char *what)
{
    if (!c->count) return;
    hone_buffer_print(text, "%s%" PRId64 " %s: %s", text->size ? "; " : "", c->count, what, c->text.data ? c->text.data : "");
    if (c->count > NAMES_SHOWN) hone_buffer_print(text, " and %" PRId64 " more", c->count - NAMES_SHOWN);
}

// found[i]: the tensor of entry i.
static hone_status check_fit(const hone_safetensors *set, const hone_model *model, const hone_hf_map *map, const char *folder,
                             const hone_safetensor **found)
{
    complaint missing = { { 0 }, 0 }, unexpected = { { 0 }, 0 }, misshapen = { { 0 }, 0 };
    const hone_hf_entry *tied_to = NULL;
    const hone_safetensor *tied = find_tied_head(set, model, map, &tied_to);
    uint8_t *used = hone_alloc((size_t)set->count + 1, 1);
    if (!used) return HONE_FAILED;
    for (int64_t i = 0; i < map->count; i++) {
        const hone_hf_entry *entry = &map->entry[i];
        const hone_safetensor *t = found[i] = find(set, model->config.family, entry->name);
        char is[120], wanted[120];
        if (!t) complain(&missing, "%.100s", entry->name);
        else {
            used[t - set->tensor] = 1;
            print_shape(is, sizeof is, t->rank, t->dim);
            print_shape(wanted, sizeof wanted, entry->rank, entry->dim);
            if (!shape_fits(t, entry)) complain(&misshapen, "%.100s is %s, config.json asks for %s", t->name, is, wanted);
            else if (!hone_safetensor_converts(t, HONE_f32)) complain(&misshapen, "%.100s is of type %s, hone reads F32, BF16 and F16", t->name, t->dtype);
        }
    }
    for (int64_t i = 0; i < set->count; i++)
        if (!used[i] && &set->tensor[i] != tied && !ignored(model->config.family, set->tensor[i].name)) complain(&unexpected, "%.100s", set->tensor[i].name);
    if (tied && tied_to && !(shape_fits(tied, tied_to) && hone_safetensor_converts(tied, HONE_f32))) complain(&misshapen, "%.100s (tied to the embedding)", tied->name);

    hone_status status = HONE_OK;
    if (missing.count || unexpected.count || misshapen.count) {
        hone_buffer text = { 0 };
        complain_part(&text, &missing, "missing");
        complain_part(&text, &unexpected, "unexpected");
        complain_part(&text, &misshapen, "misshapen");
        status = hone_fail("%s: the weights do not fit config.json (%s): %s; use the config.json that belongs to them", folder,
                           model->config.family->model_type, text.data ? text.data : "");
        hone_buffer_release(&text);
    }
    hone_buffer_release(&missing.text);
    hone_buffer_release(&unexpected.text);
    hone_buffer_release(&misshapen.text);
    hone_free(used);
    return status;
}

// A piece of one file row at a time: its elements go down a column of each part.
static void read_transposed(const hone_safetensors *set, const hone_safetensor *t, const hone_hf_entry *entry, float *const *part, float *scratch)
{
    int64_t in = entry->dim[0], columns = entry->dim[1], out = columns / entry->parts, limit = SCRATCH_BYTES / (int64_t)sizeof(float);
    int64_t rows = limit / columns;   // whole rows per piece: neighbouring rows meet in the same cache lines of the parts
    if (rows < 1) rows = 1;
    int64_t width = columns < limit ? columns : limit;
    for (int64_t i0 = 0; i0 < in; i0 += rows) {
        int64_t n = in - i0 < rows ? in - i0 : rows;
        for (int64_t j0 = 0; j0 < columns; j0 += width) {
            int64_t m = columns - j0 < width ? columns - j0 : width;
            hone_safetensor_read(set, t, i0 * columns + j0, n * m, HONE_f32, scratch);   // n > 1 only where m == columns
            for (int64_t j = 0; j < m; j++) {
                float *row = part[(j0 + j) / out] + (j0 + j) % out * in + i0;
                for (int64_t i = 0; i < n; i++) row[i] = scratch[i * m + j];
            }
        }
    }
}

static void read_entry(const hone_safetensors *set, const hone_safetensor *t, const hone_hf_entry *entry, float *const *part, float *scratch)
{
    int64_t count = t->count / entry->parts;
    if (entry->transposed) read_transposed(set, t, entry, part, scratch);
    else for (int p = 0; p < entry->parts; p++) hone_safetensor_read(set, t, p * count, count, HONE_f32, part[p]);
}

// Rows [first, first + n) of part p of a matrix, in the order that y = x W^T has them, to `to` (n, in).
static void read_rows(const hone_safetensors *set, const hone_safetensor *t, const hone_hf_entry *entry, int p, int64_t first, int64_t n, float *strip, float *to)
{
    const int64_t own = t->count / entry->parts, in = entry->dim[entry->transposed ? 0 : 1], columns = entry->dim[1];
    if (!entry->transposed) {
        hone_safetensor_read(set, t, p * own + first * in, n * in, HONE_f32, to);
        return;
    }
    for (int64_t i = 0; i < in; i++) {   // n elements of each row of the file
        hone_safetensor_read(set, t, i * columns + p * (own / in) + first, n, HONE_f32, strip);
        for (int64_t j = 0; j < n; j++) to[j * in + i] = strip[j];
    }
}

// A matrix that is kept in blocks or in bf16, a piece at a time.
static hone_status read_blocked(const hone_model *model, const hone_safetensors *set, const hone_safetensor *t, const hone_hf_entry *entry, hone_place_fn data, void *context)
{
    const int64_t in = entry->dim[entry->transposed ? 0 : 1], fit = SCRATCH_BYTES / (in * (int64_t)sizeof(float)), rows = fit > 1 ? fit : 1;
    float *piece = hone_alloc((size_t)(rows * (in + 1)), sizeof *piece);
    hone_status status = piece ? HONE_OK : HONE_FAILED;
    for (int p = 0; p < entry->parts && !status; p++) {
        const int64_t all = hone_at(model->graph, entry->param[p])->dim[0];
        hone_blocked_writer writer;
        if ((status = hone_blocked_open(&writer, model, entry->param[p], data(context, entry->param[p])))) break;
        for (int64_t first = 0; first < all; first += rows) {
            const int64_t n = all - first < rows ? all - first : rows;
            read_rows(set, t, entry, p, first, n, piece + rows * in, piece);
            hone_blocked_write(&writer, piece, n, NULL);
        }
        hone_blocked_close(&writer);
    }
    hone_free(piece);
    return status;
}

// A head that a tied model carries must be the embedding; silence would lose a trained matrix.
static hone_status check_tied_head(const hone_safetensors *set, const hone_safetensor *tied, const hone_safetensor *embedding, const char *folder, float *scratch)
{
    const int64_t piece = SCRATCH_BYTES / 2 / (int64_t)sizeof(float);
    for (int64_t at = 0; at < tied->count; at += piece) {
        int64_t n = tied->count - at < piece ? tied->count - at : piece;
        hone_safetensor_read(set, tied, at, n, HONE_f32, scratch);
        hone_safetensor_read(set, embedding, at, n, HONE_f32, scratch + piece);
        if (memcmp(scratch, scratch + piece, (size_t)n * sizeof(float)) != 0)
            return hone_fail("%s: config.json says tie_word_embeddings, but %s differs from the embedding; set tie_word_embeddings to false", folder, tied->name);
    }
    return HONE_OK;
}

hone_status hone_hf_load(const hone_model *model, const char *folder, hone_place_fn data, void *context)
{
    hone_safetensors set;
    hone_hf_map map = { 0 };
    const hone_safetensor **found = NULL;
    float *scratch = NULL;
    if (hone_gguf_is(folder)) return hone_gguf_load(model, folder, data, context);
    hone_status status = hone_safetensors_open_folder(&set, folder);
    if (status) return status;
    if ((status = hone_hf_map_build(&map, model))) goto out;
    found = hone_alloc((size_t)map.count + 1, sizeof *found);
    scratch = hone_alloc(SCRATCH_BYTES, 1);
    if (!found || !scratch) { status = HONE_FAILED; goto out; }
    if ((status = check_fit(&set, model, &map, folder, found))) goto out;
    for (int64_t i = 0; i < map.count && !status; i++) {
        float *part[HONE_HF_PARTS] = { 0 };
        if (hone_is_kept_narrow(hone_at(model->graph, map.entry[i].param[0]))) {
            status = read_blocked(model, &set, found[i], &map.entry[i], data, context);
            continue;
        }
        for (int p = 0; p < map.entry[i].parts; p++) part[p] = data(context, map.entry[i].param[p]);
        read_entry(&set, found[i], &map.entry[i], part, scratch);
    }
    const hone_hf_entry *tied_to = NULL;
    const hone_safetensor *tied = find_tied_head(&set, model, &map, &tied_to);
    if (tied && tied_to && !status) status = check_tied_head(&set, tied, found[tied_to - map.entry], folder, scratch);
out:
    hone_free(found);
    hone_free(scratch);
    hone_hf_map_release(&map);
    hone_safetensors_close(&set);
    return status;
}

// Saving --------------------------------------------------------------------------------------------------------------

typedef struct { const hone_hf_map *map; hone_place_fn data; hone_carry_fn carry; void *context; } weights;

// Blocks of file rows: pieces of four cache lines are read, whole lines are written, by squares of 4 x 4 in registers: a save takes
// its time from the training beside it.
enum { TURN_ROWS = 64, TURN_COLUMNS = 16 };
typedef float four __attribute__((vector_size(16), aligned(4)));
static void turn_square(float *restrict y, const float *restrict x, int64_t columns, int64_t in)
{
    const four a = *(const four *)x, b = *(const four *)(x + in), c = *(const four *)(x + 2 * in), d = *(const four *)(x + 3 * in);
    const four ab = __builtin_shufflevector(a, b, 0, 4, 1, 5), cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    const four ab2 = __builtin_shufflevector(a, b, 2, 6, 3, 7), cd2 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    *(four *)y = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
    *(four *)(y + columns) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
    *(four *)(y + 2 * columns) = __builtin_shufflevector(ab2, cd2, 0, 1, 4, 5);
    *(four *)(y + 3 * columns) = __builtin_shufflevector(ab2, cd2, 2, 3, 6, 7);
}
static void turn_block(float *restrict y, const float *restrict x, int64_t columns, int64_t in, int64_t rows, int64_t width)
{
    const int64_t whole_rows = rows & ~3, whole_width = width & ~3;
    for (int64_t r = 0; r < whole_rows; r += 4)
        for (int64_t j = 0; j < whole_width; j += 4) turn_square(y + r * columns + j, x + j * in + r, columns, in);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = r < whole_rows ? whole_width : 0; j < width; j++) y[r * columns + j] = x[j * in + r];
}
static void turn_rows(float *restrict y, const float *const *part, int64_t columns, int64_t out, int64_t in, int64_t i, int64_t rows)
{
    for (int64_t at = 0; at < columns; at += out)
        for (int64_t j = 0; j < out; j += TURN_COLUMNS)
            turn_block(y + at + j, part[at / out] + j * in + i, columns, in, rows, j + TURN_COLUMNS <= out ? TURN_COLUMNS : out - j);
}

// What has no place in memory, part by part.
static const void *carry_parts(const weights *w, const hone_hf_entry *entry, int64_t first, int64_t count, float *y)
{
    const int64_t each = (entry->rank == 2 ? entry->dim[0] * entry->dim[1] : entry->dim[0]) / entry->parts;
    HONE_ASSERT(!entry->transposed && w->carry, "%s is in no memory", entry->name);
    for (int64_t k = 0, n; k < count; k += n) {
        const int64_t at = (first + k) % each;
        n = count - k < each - at ? count - k : each - at;
        if (w->carry(w->context, entry->param[(first + k) / each], (size_t)at * sizeof *y, (size_t)n * sizeof *y, y + k, false)) return NULL;
    }
    return y;
}

// Plain f32 goes to the file from where it lies; a transposed piece is turned in scratch.
static const void *weights_source(void *weights_pointer, int64_t index, int64_t first, int64_t count, void *scratch)
{
    const weights *w = weights_pointer;
    const hone_hf_entry *entry = &w->map->entry[index];
    float *y = scratch;
    const float *plain = w->data(w->context, entry->param[0]);
    if (!plain) return carry_parts(w, entry, first, count, scratch);
    if (!entry->transposed && entry->parts == 1) return plain + first;
    int64_t columns = entry->transposed ? entry->dim[1] : entry->rank == 2 ? entry->dim[0] * entry->dim[1] : entry->dim[0];
    int64_t out = columns / entry->parts, in = entry->transposed ? entry->dim[0] : 1;   // untransposed: one long row of parts
    const float *part[HONE_HF_PARTS] = { 0 };
    for (int p = 0; p < entry->parts; p++) part[p] = w->data(w->context, entry->param[p]);
    int64_t i = first / columns, j = first % columns;
    for (int64_t k = 0; k < count; ) {
        int64_t n = j == 0 ? (count - k) / columns : 0;   // whole file rows ahead
        if (n > TURN_ROWS) n = TURN_ROWS;
        if (n > 0) {
            turn_rows(y + k, part, columns, out, in, i, n);
            k += n * columns;
            i += n;
        } else {
            for (; k < count && j < columns; k++, j++) y[k] = part[j / out][j % out * in + i];
            if (j == columns) j = 0, i++;
        }
    }
    return scratch;
}

hone_status hone_hf_write_weights(const hone_hf_map *map, hone_writer *writer, hone_place_fn data, hone_carry_fn carry, void *context,
                                  void *scratch, size_t scratch_bytes)
{
    hone_safetensor_spec *spec = hone_alloc((size_t)map->count + 1, sizeof *spec);
    if (!spec) return HONE_FAILED;
    for (int64_t i = 0; i < map->count; i++)
        spec[i] = (hone_safetensor_spec){ .name = map->entry[i].name, .dtype = HONE_f32, .rank = map->entry[i].rank,
                                          .dim = { map->entry[i].dim[0], map->entry[i].dim[1] } };
    weights w = { map, data, carry, context };
    hone_status status = hone_safetensors_write(writer, spec, map->count, weights_source, &w, scratch, scratch_bytes);
    hone_free(spec);
    return status;
}

hone_status hone_hf_save(const hone_model *model, const char *folder, const hone_hf_tokenizer *tokenizer, hone_place_fn data,
                         hone_carry_fn carry, void *context)
{
    static const atomic_bool hurry;   // never: nobody waits for it but its own process, whose memory limit may have no room for the page cache
    hone_hf_map map = { 0 };
    hone_writer writer;
    void *scratch = NULL, *direct = NULL;
    char *path = NULL;
    hone_status status = hone_dir_create(folder);
    if (!status) status = hone_hf_map_build(&map, model);
    if (!status) status = hone_hf_save_about(model, folder, tokenizer);
    if (status) goto out;
    status = HONE_FAILED;
    if (!(scratch = hone_alloc(SCRATCH_BYTES, 1)) || !(direct = hone_pages_alloc(DIRECT_BYTES)) || !(path = hone_path_join(folder, "model.safetensors"))) goto out;
    if ((status = hone_writer_open_direct(&writer, path, direct, DIRECT_BYTES, &hurry))) goto out;
    status = hone_hf_write_weights(&map, &writer, data, carry, context, scratch, SCRATCH_BYTES);
    if (!status) status = hone_writer_commit(&writer);
    else hone_writer_abort(&writer);
out:
    if (direct) hone_pages_free(direct, DIRECT_BYTES);
    hone_free(scratch);
    hone_free(path);
    hone_hf_map_release(&map);
    return status;
}
