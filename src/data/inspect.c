// inspect.c: see inspect.h. Text: tokens are told apart by two colours in turn, or by '|' where there is no colour; what is not
// trained (the step from one document to the next) is in brackets or dim; a document that begins is named.
#include "data/inspect.h"
#include "base/units.h"

#include <inttypes.h>
#include <string.h>

hone_status hone_inspector_open(hone_inspector *in)
{
    size_t T = (size_t)in->mixture->common.window;
    in->batch = (hone_batch){ .ids = hone_alloc(T, sizeof(int32_t)), .target = hone_alloc(T, sizeof(int32_t)), .pos = hone_alloc(T, sizeof(int32_t)), .weight = hone_alloc(T, sizeof(float)) };
    in->files = hone_alloc((size_t)in->mixture->n_sources, sizeof *in->files);
    if (in->batch.ids && in->batch.target && in->batch.pos && in->batch.weight && in->files) return HONE_OK;
    hone_inspector_close(in);
    return HONE_FAILED;
}

void hone_inspector_close(hone_inspector *in)
{
    for (int64_t i = 0; in->files && i < in->mixture->n_sources; i++) json_decref(in->files[i]);
    hone_free(in->files);
    hone_free(in->batch.ids);
    hone_free(in->batch.target);
    hone_free(in->batch.pos);
    hone_free(in->batch.weight);
    in->files = NULL;
    in->batch = (hone_batch){ 0 };
}

hone_status hone_inspect_mixture(hone_inspector *in, hone_buffer *out)
{
    const hone_mixture *m = in->mixture;
    hone_status status = hone_buffer_print(out, "  source              tokens   documents  bytes/token      weight  caps\n");
    for (int64_t i = 0; i < m->n_sources && !status; i++) {
        const hone_mixture_source *s = &m->source[i];
        double bytes = hone_loader_bytes_per_token(&s->loader);
        char weight[64], per_token[32] = "-", documents[32] = "-";
        if (s->n_points > 1) snprintf(weight, sizeof weight, "%.3g to %.3g", s->point[0].weight, s->point[s->n_points - 1].weight);
        else snprintf(weight, sizeof weight, "%.3g", s->point[0].weight);
        if (bytes > 0) snprintf(per_token, sizeof per_token, "%.3f", bytes);
        if (!s->loader.data.raw) snprintf(documents, sizeof documents, "%s", hone_units_grouped(s->loader.data.n_documents).s);
        status = hone_buffer_print(out, "  %-16s %9s  %10s  %11s  %10s", s->name, hone_units_count((double)s->loader.data.n_tokens).s, documents, per_token, weight);
        if (!status && s->epochs > 0) status = hone_buffer_print(out, "  at most %.3g epochs", s->epochs);
        if (!status && s->from_step > 0) status = hone_buffer_print(out, "  from step %" PRId64, s->from_step);
        if (!status && s->to_step >= 0) status = hone_buffer_print(out, "  to step %" PRId64, s->to_step);
        if (!status) status = hone_buffer_append(out, "\n", 1);
    }
    return status;
}

// Row `row` of a source's loader, as it lies in the batch.
typedef struct { const hone_loader *loader; int64_t source, row, used; } shown;     // used: places that are not padding

// The file that the document at place t came from; NULL unknown.
static const char *file_at(hone_inspector *in, const shown *row, int64_t t)
{
    const int64_t source = row->source, position = hone_loader_position(row->loader, row->row, t);
    const hone_dataset *data = &in->mixture->source[source].loader.data;
    if (data->raw) return NULL;
    if (!in->files[source]) {
        char *path = hone_path_join(data->path, "data.json");
        json_t *json = NULL;
        if (path && hone_json_load(path, &json) == HONE_OK) in->files[source] = json_incref(json_object_get(json, "sources"));
        json_decref(json);
        hone_free(path);
    }
    return json_string_value(json_object_get(json_array_get(in->files[source], (size_t)hone_dataset_source(data, position)), "path"));
}

// The bytes of a token as they can be shown on one line.
static hone_status add_piece(hone_inspector *in, int32_t id, hone_buffer *out)
{
    size_t size = 0;
    const char *bytes = NULL;
    if (in->tokenizer && hone_tokenizer_is_special(in->tokenizer, id)) bytes = hone_tokenizer_token(in->tokenizer, id, &size);
    else if (in->tokenizer) bytes = hone_tokenizer_token_bytes(in->tokenizer, id, &size);
    if (!bytes) return hone_buffer_print(out, "%" PRId32, id);
    hone_status status = HONE_OK;
    for (size_t i = 0; i < size && !status;) {
        size_t valid = hone_utf8_valid(bytes + i, size - i), k;
        for (k = 0; k < valid && !status; k++) {
            unsigned char c = (unsigned char)bytes[i + k];
            if (c == '\n') status = hone_buffer_append(out, "\xe2\x8f\x8e", 3);      // U+23CE, a return arrow
            else if (c == '\t') status = hone_buffer_append(out, "\xe2\x87\xa5", 3); // U+21E5, a tab arrow
            else if (c < 32 || c == 127) status = hone_buffer_print(out, "\\x%02x", c);
            else status = hone_buffer_append(out, bytes + i + k, 1);
        }
        i += valid;
        if (!status && i < size) status = hone_buffer_print(out, "\\x%02x", (unsigned char)bytes[i++]); // part of a character
    }
    return status;
}

static bool begins(const hone_inspector *in, int64_t t) { return in->batch.pos[t] == 0; }

static int64_t count_documents(const hone_inspector *in, const shown *row)
{
    int64_t n = 0;
    for (int64_t t = 0; t < row->used; t++) n += begins(in, t);
    return n;
}

// A document that lies whole has its last token as a target only.
static bool closes(const hone_inspector *in, const shown *row, int64_t t)
{
    return row->loader->packing.n_rows && (t + 1 == row->used || begins(in, t + 1));
}

// --- the three forms of a row

static hone_status add_token(hone_inspector *in, int32_t id, int64_t t, bool untrained, hone_buffer *out)
{
    hone_status status;
    if (in->colour) status = hone_buffer_print(out, "\033[%sm", untrained ? "2" : t % 2 ? "36" : "33");
    else status = hone_buffer_append(out, untrained ? "|[" : "|", untrained ? 2 : 1);
    if (!status) status = add_piece(in, id, out);
    if (!status && in->colour) status = hone_buffer_append(out, "\033[0m", 4);
    else if (!status && untrained) status = hone_buffer_append(out, "]", 1);
    return status;
}

static hone_status add_text(hone_inspector *in, const shown *row, hone_buffer *out)
{
    hone_status status = HONE_OK;
    for (int64_t t = 0; t < row->used && !status; t++) {
        bool untrained = in->batch.weight[t] == 0;
        if (begins(in, t)) {
            const char *file = file_at(in, row, t);
            status = hone_buffer_print(out, "%s    @%" PRId64 "%s%s\n      ", t ? "\n" : "", t, file ? "  " : "", file ? file : "");
        } else if (t > 0 && in->batch.pos[t] % 40 == 0) status = hone_buffer_append(out, "\n      ", 7); // lines that can be read
        if (status) break;
        status = add_token(in, in->batch.ids[t], t, untrained, out);
        if (!status && closes(in, row, t)) status = add_token(in, in->batch.target[t], t + 1, true, out);
    }
    return status ? status : hone_buffer_append(out, "\n", 1);
}

static hone_status add_table(hone_inspector *in, const shown *row, hone_buffer *out)
{
    hone_status status = hone_buffer_print(out, "        t    pos      id  trained  token\n");
    for (int64_t t = 0; t < row->used && !status; t++) {
        const char *file = begins(in, t) ? file_at(in, row, t) : NULL;
        if (begins(in, t)) status = hone_buffer_print(out, "    ---- a document%s%s\n", file ? " of " : "", file ? file : "");
        if (!status) status = hone_buffer_print(out, "  %7" PRId64 " %6" PRId32 " %7" PRId32 "  %7s  ", t, in->batch.pos[t], in->batch.ids[t], in->batch.weight[t] != 0 ? "yes" : "no");
        if (!status) status = add_piece(in, in->batch.ids[t], out);
        if (!status) status = hone_buffer_append(out, "\n", 1);
    }
    return status;
}

static hone_status add_json(hone_inspector *in, int64_t number, const shown *row, hone_buffer *out)
{
    const hone_mixture *m = in->mixture;
    json_t *ids = json_array(), *trained = json_array(), *documents = json_array();
    int bad = 0;
    for (int64_t t = 0; t < row->used; t++) {
        bad |= json_array_append_new(ids, json_integer(in->batch.ids[t]));
        bad |= json_array_append_new(trained, json_integer(in->batch.weight[t] != 0));
        if (!begins(in, t)) continue;
        json_t *document = json_pack("{s:I}", "at", (json_int_t)t);
        const char *file = file_at(in, row, t);
        if (file && document) bad |= json_object_set_new(document, "file", json_string(file));
        bad |= json_array_append_new(documents, document);
    }
    json_t *json = json_pack("{s:I, s:I, s:s, s:I, s:I, s:o, s:o, s:o}", "row", (json_int_t)number, "step", (json_int_t)(number / m->step_rows), "source", m->source[row->source].name,
                             "source_row", (json_int_t)row->row, "position", (json_int_t)hone_loader_position(row->loader, row->row, 0), "documents", documents, "ids", ids, "trained", trained);
    char *text = json && !bad ? hone_json_dumps(json, JSON_COMPACT) : NULL;
    hone_status status = text ? hone_buffer_print(out, "%s\n", text) : hone_fail("out of memory while a row was written");
    hone_free(text);
    json_decref(json);
    return status;
}

static hone_status add_head(hone_inspector *in, int64_t number, const shown *row, hone_buffer *out)
{
    const hone_mixture *m = in->mixture;
    const int64_t T = m->common.window, documents = count_documents(in, row), start = hone_loader_position(row->loader, row->row, 0);
    hone_status status = hone_buffer_print(out, "\n  row %" PRId64 "  step %" PRId64 "  %s  pass %" PRId64, number, number / m->step_rows, m->source[row->source].name, row->row / row->loader->windows + 1);
    if (!status && !row->loader->packing.n_rows) status = hone_buffer_print(out, "  tokens %" PRId64 " to %" PRId64, start, start + T);
    if (!status) status = hone_buffer_print(out, "  %" PRId64 " document%s  %" PRId64 " of %" PRId64 " tokens trained", documents, documents == 1 ? "" : "s", in->batch.trained, T);
    if (!status && row->used < T) status = hone_buffer_print(out, ", %" PRId64 " of padding", T - row->used);
    return status ? status : hone_buffer_append(out, "\n", 1);
}

hone_status hone_inspect_row(hone_inspector *in, int64_t number, hone_buffer *out)
{
    hone_mixture *m = in->mixture;
    shown row = { 0 };
    hone_mixture_seek(m, number);
    if (m->now.row != number) return hone_fail("row %" PRId64 ": the mixture ends at row %" PRId64 ", when every source is used up", number, m->now.row);
    row.source = hone_mixture_peek(m, &row.row);
    hone_status status = hone_mixture_next(m, 1, &in->batch);
    if (status) return status;
    row.loader = &m->source[row.source].loader;
    row.used = hone_loader_used(row.loader, row.row);
    if (in->form == HONE_INSPECT_JSON) return add_json(in, number, &row, out);
    status = add_head(in, number, &row, out);
    if (status) return status;
    return in->form == HONE_INSPECT_TABLE ? add_table(in, &row, out) : add_text(in, &row, out);
}
