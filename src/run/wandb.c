// wandb.c: see wandb.h.
#include "run/wandb.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/memory.h"
#include "run/protobuf.h"
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

enum { BLOCK = 32768, FRAME = 7 };
enum { WHOLE = 1, FIRST, MIDDLE, LAST };

// --- records to chunks -------------------------------------------------------------------------------------------------

static hone_status put_chunk(hone_buffer *out, uint8_t kind, const void *data, size_t size)
{
    uint32_t crc = (uint32_t)crc32(crc32(0, &kind, 1), data, (uInt)size);
    uint16_t length = (uint16_t)size;
    hone_status status = hone_buffer_append(out, &crc, sizeof crc);
    if (!status) status = hone_buffer_append(out, &length, sizeof length);
    if (!status) status = hone_buffer_append(out, &kind, sizeof kind);
    return status ? status : hone_buffer_append(out, data, size);
}

// One append for all chunks of a record, so that a stopped run leaves whole records.
static hone_status append_record(hone_wandb *w, const hone_buffer *record)
{
    static const uint8_t zeros[FRAME];
    hone_buffer chunks = { 0 };
    hone_status status = HONE_OK;
    bool first = true;
    for (size_t at = 0; !status && at < record->size;) {
        size_t room = BLOCK - ((size_t)w->size + chunks.size) % BLOCK, left = record->size - at;
        if (room < FRAME) {
            status = hone_buffer_append(&chunks, zeros, room);
            continue;
        }
        size_t size = left < room - FRAME ? left : room - FRAME;
        bool last = size == left;
        status = put_chunk(&chunks, first ? last ? WHOLE : FIRST : last ? LAST : MIDDLE, record->data + at, size);
        first = false;
        at += size;
    }
    if (!status) status = hone_file_append(w->path, chunks.data, chunks.size);
    if (!status) w->size += (int64_t)chunks.size;
    hone_buffer_release(&chunks);
    return status;
}

// A record that holds the message `content` as its field `kind`.
static hone_status put_record(hone_wandb *w, int kind, const hone_buffer *content)
{
    hone_buffer record = { 0 };
    hone_status status = hone_proto_put_varint(&record, 1, (uint64_t)w->records + 1);
    if (!status) status = hone_proto_put_bytes(&record, kind, content->data, content->size);
    if (!status) status = append_record(w, &record);
    if (!status) w->records++;
    hone_buffer_release(&record);
    return status;
}

// --- messages ----------------------------------------------------------------------------------------------------------

enum { RECORD_HISTORY = 2, RECORD_SUMMARY = 3, RECORD_RUN = 17, RECORD_EXIT = 18, RECORD_HEADER = 21 };
enum { KEY = 1, NESTED_KEY = 2, VALUE_JSON = 16 };

static hone_status put_text(hone_buffer *out, int field, const char *text) { return hone_proto_put_bytes(out, field, text, strlen(text)); }

// Each member of `values` as an Item of field 1: config, history and summary are lists of these. key: the field of its name.
static hone_status put_items(hone_buffer *out, const json_t *values, int key)
{
    const char *name;
    json_t *value;
    hone_status status = HONE_OK;
    json_object_foreach((json_t *)(uintptr_t)values, name, value) {
        char *text = status ? NULL : hone_json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
        hone_buffer item = { 0 };
        if (!status && !text) status = hone_fail("out of memory for %s", name);
        if (!status) status = put_text(&item, key, name);
        if (!status) status = put_text(&item, VALUE_JSON, text);
        if (!status) status = hone_proto_put_bytes(out, 1, item.data, item.size);
        hone_buffer_release(&item);
        hone_free(text);
    }
    return status;
}

static hone_status put_header(hone_wandb *w)
{
    hone_buffer version = { 0 }, header = { 0 };
    hone_status status = put_text(&version, 1, "hone " HONE_VERSION);
    if (!status) status = put_text(&version, 2, "0.70.0"); // the oldest reader, as the client itself writes it
    if (!status) status = hone_proto_put_bytes(&header, 1, version.data, version.size);
    if (!status) status = put_record(w, RECORD_HEADER, &header);
    hone_buffer_release(&version);
    hone_buffer_release(&header);
    return status;
}

static hone_status put_run(hone_wandb *w, const json_t *row)
{
    char host[256] = "";
    gethostname(host, sizeof host - 1);
    json_t *values = json_object();
    hone_buffer run = { 0 }, config = { 0 }, start = { 0 };
    hone_status status = !values || json_object_update(values, json_object_get(row, "recipe")) || json_object_set(values, "hone", json_object_get(row, "hone"))
                       ? hone_fail("out of memory for the config of a run") : put_items(&config, values, KEY);
    if (!status) status = put_text(&run, 1, w->id);
    if (!status) status = put_text(&run, 3, "hone");
    if (!status) status = hone_proto_put_bytes(&run, 4, config.data, config.size);
    if (!status) status = put_text(&run, 8, w->name);
    if (!status) status = put_text(&run, 13, host);
    if (!status) status = hone_proto_put_varint(&start, 1, (uint64_t)w->began_s);
    if (!status) status = hone_proto_put_bytes(&run, 17, start.data, start.size);
    if (!status) status = put_record(w, RECORD_RUN, &run);
    hone_buffer_release(&run);
    hone_buffer_release(&config);
    hone_buffer_release(&start);
    json_decref(values);
    return status;
}

// What is known of the step that is over.
static hone_status put_history(hone_wandb *w)
{
    hone_buffer history = { 0 }, step = { 0 };
    if (json_object_size(w->row) == 0) return HONE_OK;
    double now = hone_wall_s();
    int bad = json_object_set_new(w->row, "_step", json_integer((json_int_t)w->step));
    bad |= json_object_set_new(w->row, "_timestamp", json_real(now));
    bad |= json_object_set_new(w->row, "_runtime", json_real(now - w->began_s));
    bad |= json_object_update(w->summary, w->row);
    hone_status status = bad ? hone_fail("out of memory for a step of a run") : put_items(&history, w->row, NESTED_KEY);
    if (!status) status = hone_proto_put_varint(&step, 1, (uint64_t)w->step);
    if (!status) status = hone_proto_put_bytes(&history, 2, step.data, step.size);
    if (!status) status = put_record(w, RECORD_HISTORY, &history);
    hone_buffer_release(&history);
    hone_buffer_release(&step);
    json_object_clear(w->row);
    return status;
}

static hone_status put_end(hone_wandb *w)
{
    hone_buffer summary = { 0 }, end = { 0 };
    hone_status status = put_history(w);
    if (!status) status = put_items(&summary, w->summary, NESTED_KEY);
    if (!status && summary.size) status = put_record(w, RECORD_SUMMARY, &summary);
    if (!status) status = hone_proto_put_varint(&end, 1, (uint64_t)w->exit_code);
    if (!status) status = hone_proto_put_varint(&end, 2, (uint64_t)(hone_wall_s() - w->began_s));
    if (!status) status = put_record(w, RECORD_EXIT, &end);
    hone_buffer_release(&summary);
    hone_buffer_release(&end);
    return status;
}

// --- life --------------------------------------------------------------------------------------------------------------

// The id of the newest run in `folder`, for a resume; else a new one: eight letters and digits, as the client's.
static hone_status choose_id(hone_wandb *w, const char *folder, bool resume)
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    char **names;
    int64_t count;
    uint8_t random[sizeof w->id - 1];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) return hone_fail("no random numbers for the name of a run");
    for (size_t i = 0; i < sizeof random; i++) w->id[i] = digits[random[i] % 36];
    hone_status status = hone_dir_list(folder, &names, &count);
    if (status) return status;
    for (int64_t i = 0; i < count; i++) { // in order of time
        size_t n = strlen(names[i]);
        if (resume && n > sizeof w->id && strncmp(names[i], "offline-run-", 12) == 0 && names[i][n - sizeof w->id] == '-') snprintf(w->id, sizeof w->id, "%s", names[i] + n - sizeof w->id + 1);
        hone_free(names[i]);
    }
    hone_free(names);
    return HONE_OK;
}

static char *folder_of(const hone_wandb *w, const char *all, time_t began)
{
    char when[32];
    struct tm local;
    localtime_r(&began, &local);
    strftime(when, sizeof when, "%Y%m%d_%H%M%S", &local);
    return hone_format("%s/offline-run-%s-%s", all, when, w->id);
}

static hone_status make_file(hone_wandb *w, const char *all)
{
    static const uint8_t head[FRAME] = { ':', 'W', '&', 'B', 0xe1, 0xbe, 0 };
    time_t began = (time_t)w->began_s;
    char *folder = folder_of(w, all, began);
    while (folder && hone_dir_exists(folder)) { // resumed within a second
        hone_free(folder);
        folder = folder_of(w, all, ++began);
    }
    hone_status status = folder ? hone_dir_create(folder) : HONE_FAILED;
    if (!status && !(w->path = hone_format("%s/run-%s.wandb", folder, w->id))) status = HONE_FAILED;
    if (!status) status = hone_file_write(w->path, head, sizeof head);
    w->size = sizeof head;
    hone_free(folder);
    return status ? status : put_header(w);
}

hone_status hone_wandb_open(hone_wandb *w, const char *run_folder, bool resume)
{
    *w = (hone_wandb){ .began_s = hone_wall_s(), .row = json_object(), .summary = json_object() };
    char *all = hone_path_join(run_folder, "wandb");
    size_t n = strlen(run_folder), from;
    while (n > 1 && run_folder[n - 1] == '/') n--;
    for (from = n; from > 0 && run_folder[from - 1] != '/';) from--;
    w->name = hone_format("%.*s", (int)(n - from), run_folder + from);
    hone_status status = all && w->name && w->row && w->summary ? hone_dir_create(all) : hone_fail("%s: out of memory", run_folder);
    if (!status) status = choose_id(w, all, resume);
    if (!status) status = make_file(w, all);
    hone_free(all);
    return status;
}

static void note(hone_wandb *w, hone_status status)
{
    if (!status) return;
    w->failed = true;
    hone_warn("%s; the run goes on without the file for Weights & Biases", hone_error());
}

void hone_wandb_close(hone_wandb *w)
{
    if (w->records > 1 && !w->failed) note(w, put_end(w));
    hone_free(w->path);
    hone_free(w->name);
    json_decref(w->row);
    json_decref(w->summary);
    *w = (hone_wandb){ 0 };
}

// The numbers of a row, as "train/loss".
static hone_status merge(hone_wandb *w, const char *group, const json_t *row)
{
    const char *name;
    json_t *value;
    int64_t step = json_integer_value(json_object_get(row, "step"));
    hone_status status = step == w->step ? HONE_OK : put_history(w);
    w->step = step;
    json_object_foreach((json_t *)(uintptr_t)row, name, value) {
        char key[128];
        snprintf(key, sizeof key, "%s/%s", group, name);
        if (json_is_number(value) && strcmp(name, "step") && json_object_set(w->row, key, value)) return hone_fail("out of memory for a step of a run");
    }
    return status;
}

void hone_wandb_add(hone_wandb *w, const char *event, const json_t *row)
{
    if (!w->path || w->failed) return;
    if (!strcmp(event, "start") || !strcmp(event, "resume")) note(w, put_run(w, row));
    else if (!strcmp(event, "step")) note(w, merge(w, "train", row));
    else if (!strcmp(event, "eval")) note(w, merge(w, "eval", row));
    else if (!strcmp(event, "failed")) w->exit_code = 1;
}
