// checkpoint.c: reading: what state.json says, whether every byte is as it was written, and the way back into the arena.
//
// state.json holds size and hash of each other file, and "self", the hash of its own content without that key. So a
// checkpoint is valid as a whole or not at all; no byte of it can change unnoticed.
#include "io/checkpoint.h"
#include "io/peft.h"
#include "base/memory.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void hex(uint64_t value, char text[17]) { snprintf(text, 17, "%016" PRIx64, value); }

// 16 lower-case hexadecimal digits.
static bool parse_hex(const char *text, uint64_t *value)
{
    if (!text || strlen(text) != 16 || strspn(text, "0123456789abcdef") != 16) return false;
    *value = strtoull(text, NULL, 16);
    return true;
}

void hone_checkpoint_state_release(hone_checkpoint_state *state)
{
    for (int64_t i = 0; i < state->n_source; i++) hone_free(state->source[i].source);
    hone_free(state->source);
    hone_free(state->recent);
    hone_free(state->recipe);
    *state = (hone_checkpoint_state){ 0 };
}

uint64_t hone_checkpoint_hash_programs(const hone_graph *graph)
{
    struct { uint64_t hash; char line[504]; } part = { .hash = hone_op_table_hash() };
    for (int p = 0; p < graph->n_program; p++)
        for (int64_t i = 0; i < graph->program[p].count; i++) {
            memset(part.line, 0, sizeof part.line);
            hone_node_print(graph, &graph->program[p].node[i], part.line, sizeof part.line);
            part.hash = hone_hash64(&part, sizeof part);
        }
    return part.hash;
}

// state.json ----------------------------------------------------------------------------------------------------------

static hone_status self_hash(const json_t *json, uint64_t *hash)
{
    hone_error_clear();
    char *text = hone_json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17));
    bool whole = text && !*hone_error();   // jansson 2.14 may lose a key, unsaid, where memory runs out
    if (whole) *hash = hone_hash64(text, strlen(text));
    hone_free(text);
    return whole ? HONE_OK : hone_fail("out of memory while a checkpoint's state was hashed");
}

static bool has_scale(const hone_checkpoint_state *state) { return state->loss_scale[0] != 0 || state->loss_scale[1] != 0 || state->loss_scale[2] != 0; }

hone_status hone_checkpoint_write_state(const char *folder, const hone_checkpoint_state *state, const json_t *files)
{
    char data[17], program[17], self[17];
    uint64_t hash = 0;
    hone_status status = HONE_FAILED;
    json_t *out = json_object(), *sources = json_object(), *recent = json_array();
    char *path = hone_path_join(folder, "state.json");
    hex(state->data_hash, data);
    hex(state->program_hash, program);
    int bad = !path;
    for (int64_t i = 0; i < state->n_source; i++)
        bad |= json_object_set_new(sources, state->source[i].source, json_integer(state->source[i].tokens));
    bad |= json_object_set_new(out, "version", json_integer(HONE_CHECKPOINT_VERSION));
    bad |= json_object_set_new(out, "hone", json_string(HONE_VERSION));
    bad |= json_object_set_new(out, "step", json_integer(state->step));
    bad |= json_object_set_new(out, "row", json_integer(state->row));
    bad |= json_object_set_new(out, "tokens", json_integer(state->tokens));
    bad |= json_object_set_new(out, "tokens_by_source", sources);
    bad |= json_object_set_new(out, "seconds", json_real(state->seconds));
    bad |= json_object_set_new(out, "seed", json_integer((json_int_t)state->seed));   // the same 64 bits
    bad |= json_object_set_new(out, "data_hash", json_string(data));
    bad |= json_object_set_new(out, "program_hash", json_string(program));
    bad |= json_object_set_new(out, "skipped", json_integer(state->skipped));
    if (state->held_loss > 0) bad |= json_object_set_new(out, "held_out_loss", json_real(state->held_loss));
    for (int64_t i = 0; i < state->n_recent; i++) bad |= json_array_append_new(recent, json_real(state->recent[i]));
    bad |= json_object_set_new(out, "recent_losses", recent);
    if (has_scale(state)) bad |= json_object_set_new(out, "loss_scale", json_pack("[i, i, i]", (int)state->loss_scale[0], (int)state->loss_scale[1], (int)state->loss_scale[2]));
    bad |= json_object_set_new(out, "recipe", json_string(state->recipe ? state->recipe : ""));
    bad |= json_object_set_new(out, "files", json_deep_copy(files));
    if (bad) hone_fail("%s: state.json cannot be made: memory ran out, or the recipe or a source's name is not UTF-8", folder);
    else status = self_hash(out, &hash);
    if (!status) {
        hex(hash, self);
        status = json_object_set_new(out, "self", json_string(self)) ? hone_fail("%s: out of memory", folder) : hone_json_save(path, out);
    }
    hone_free(path);
    json_decref(out);
    return status;
}

// Parsed and proven to be what was written.
static hone_status load_state_json(const char *path, json_t **out)
{
    int64_t version = 0;
    uint64_t said = 0, is = 1;
    const char *text = NULL;
    json_t *json = NULL;
    *out = NULL;
    char *file = hone_path_join(path, "state.json");
    if (!file) return HONE_FAILED;
    hone_status status = hone_json_load(file, &json);
    if (!status) status = hone_json_int(json, "version", file, true, &version);
    if (!status && version > HONE_CHECKPOINT_VERSION)
        status = hone_fail("%s: written in format %" PRId64 ", this hone reads up to %d; use the newer hone", file, version, HONE_CHECKPOINT_VERSION);
    if (!status) status = hone_json_text(json, "self", file, true, &text);
    if (!status && parse_hex(text, &said)) {
        json_object_del(json, "self");
        status = self_hash(json, &is);
    }
    if (!status && said != is) status = hone_fail("%s: its content does not match its own checksum; the file is damaged", file);
    if (status) json_decref(json);
    else *out = json;
    hone_free(file);
    return status;
}

static hone_status read_sources(const json_t *json, const char *where, hone_checkpoint_state *state)
{
    const char *name;
    json_t *value, *sources = json_object_get(json, "tokens_by_source");
    if (!json_is_object(sources)) return hone_fail("%s: tokens_by_source is missing", where);
    state->source = hone_alloc(json_object_size(sources) + 1, sizeof *state->source);
    if (!state->source) return HONE_FAILED;
    json_object_foreach(sources, name, value) {
        if (!(state->source[state->n_source].source = hone_strdup(name))) return HONE_FAILED;
        state->source[state->n_source++].tokens = json_integer_value(value);
    }
    return HONE_OK;
}

static hone_status read_recent(const json_t *json, const char *where, hone_checkpoint_state *state)
{
    const json_t *recent = json_object_get(json, "recent_losses");
    size_t count = json_array_size(recent);
    if (count == 0) return HONE_OK;
    if (!(state->recent = hone_alloc(count, sizeof *state->recent))) return HONE_FAILED;
    for (size_t i = 0; i < count; i++) {
        if (!json_is_number(json_array_get(recent, i))) return hone_fail("%s: recent_losses holds what is no number", where);
        state->recent[state->n_recent++] = json_number_value(json_array_get(recent, i));
    }
    return HONE_OK;
}

// Doublings less halvings, good steps in a row, overflows: whole numbers that an f32 holds.
static hone_status read_scale(const json_t *json, const char *where, hone_checkpoint_state *state)
{
    const json_t *saved = json_object_get(json, "loss_scale");
    for (size_t i = 0; i < 3 && saved; i++) {
        const json_t *number = json_array_get(saved, i);
        const json_int_t value = json_integer_value(number);
        if (!json_is_integer(number) || value > 1 << 24 || (i ? value < 0 : value < -64 || value > 64))
            return hone_fail("%s: loss_scale is not [doublings, good steps, overflows]", where);
        state->loss_scale[i] = (float)value;
    }
    return HONE_OK;
}

// What no training can come to: whoever made it, the checksum is right.
static hone_status check_counts(const hone_checkpoint_state *state, const char *path)
{
    const struct { const char *name; int64_t value; } count[] = {
        { "step", state->step }, { "row", state->row }, { "tokens", state->tokens }, { "skipped", state->skipped } };
    for (size_t i = 0; i < sizeof count / sizeof *count; i++)
        if (count[i].value < 0) return hone_fail("%s/state.json: %s is %" PRId64 "; it must be 0 or more", path, count[i].name, count[i].value);
    if (!(state->seconds >= 0)) return hone_fail("%s/state.json: seconds is %g; it must be 0 or more", path, state->seconds);
    return HONE_OK;
}

hone_status hone_checkpoint_read_state(const char *path, hone_checkpoint_state *state)
{
    json_t *json;
    int64_t seed = 0;
    const char *recipe = "", *data = NULL, *program = NULL;
    *state = (hone_checkpoint_state){ 0 };
    hone_status status = load_state_json(path, &json);
    if (status) return status;
    if ((status = hone_json_int(json, "step", path, true, &state->step)) || (status = hone_json_int(json, "row", path, true, &state->row)) ||
        (status = hone_json_int(json, "tokens", path, true, &state->tokens)) || (status = hone_json_int(json, "seed", path, true, &seed)) ||
        (status = hone_json_real(json, "seconds", path, true, &state->seconds)) || (status = hone_json_text(json, "recipe", path, true, &recipe)) ||
        (status = hone_json_text(json, "data_hash", path, true, &data)) || (status = hone_json_text(json, "program_hash", path, true, &program)) ||
        (status = hone_json_int(json, "skipped", path, false, &state->skipped)) ||
        (status = hone_json_real(json, "held_out_loss", path, false, &state->held_loss)) ||
        (status = check_counts(state, path)) || (status = read_sources(json, path, state)) || (status = read_recent(json, path, state)) ||
        (status = read_scale(json, path, state))) goto out;
    state->seed = (uint64_t)seed;
    if (!parse_hex(data, &state->data_hash) || !parse_hex(program, &state->program_hash)) status = hone_fail("%s/state.json: a hash is not 16 hexadecimal digits", path);
    else if (!(state->recipe = hone_strdup(recipe))) status = HONE_FAILED;
out:
    json_decref(json);
    if (status) hone_checkpoint_state_release(state);
    return status;
}

// Is it whole? --------------------------------------------------------------------------------------------------------

static hone_status verify_file(const char *folder, const char *name, const json_t *about)
{
    int64_t size = -1;
    uint64_t said = 0, is = 0;
    const char *text = NULL;
    struct stat found;
    if (!name[0] || strchr(name, '/')) return hone_fail("%s/state.json: \"%.100s\" is not a file of this folder", folder, name);
    char *path = hone_path_join(folder, name);
    if (!path) return HONE_FAILED;
    hone_status status = hone_json_int(about, "size", path, true, &size);
    if (!status) status = hone_json_text(about, "xxh3", path, true, &text);
    if (!status && !parse_hex(text, &said)) status = hone_fail("%s: its checksum in state.json is not 16 hexadecimal digits", path);
    if (!status && stat(path, &found)) status = hone_fail("%s: is missing", path);
    if (!status && (int64_t)found.st_size != size)
        status = hone_fail("%s: has %" PRId64 " bytes, %" PRId64 " were written", path, (int64_t)found.st_size, size);
    if (!status) status = hone_file_hash(path, &is);
    if (!status && said != is) status = hone_fail("%s: its checksum differs from the one it was written with; the file is damaged", path);
    hone_free(path);
    return status;
}

hone_status hone_checkpoint_verify(const char *path)
{
    json_t *json, *about;
    const char *name;
    hone_status status = load_state_json(path, &json);
    if (status) return status;
    json_t *files = json_object_get(json, "files");
    const bool model = json_object_get(files, "model.safetensors") && json_object_get(files, "config.json");
    if (!model && !(json_object_get(files, "adapter_model.safetensors") && json_object_get(files, "adapter_config.json")))
        status = hone_fail("%s/state.json: lists no model", path);
    if (!status) json_object_foreach(files, name, about)
        if ((status = verify_file(path, name, about))) break;
    json_decref(json);
    return status;
}

// The way back --------------------------------------------------------------------------------------------------------

hone_status hone_checkpoint_list_moments(const hone_model *model, hone_checkpoint_moment **moment, int64_t *count)
{
    const int64_t n_param = hone_model_n_logical(model);
    *count = 0;
    static const char *const prefix[] = { "moment1", "moment2", "moments.scale", "average" };   // as optim/ names them
    enum { KINDS = sizeof prefix / sizeof *prefix };
    *moment = hone_alloc((size_t)n_param * KINDS + 1, sizeof **moment);
    if (!*moment) return HONE_FAILED;
    for (int64_t i = 0; i < n_param; i++)
        for (int which = 0; which < KINDS; which++) {
            char name[sizeof ((hone_tensor *)0)->name];
            snprintf(name, sizeof name, "%s.%.60s", prefix[which], hone_at(model->graph, hone_model_logical(model, i))->name);
            hone_tid id = hone_graph_find(model->graph, name);
            if (id == HONE_NONE) continue;
            (*moment)[*count] = (hone_checkpoint_moment){ id, hone_strdup(name) };
            if (!(*moment)[*count].name) {
                hone_checkpoint_free_moments(*moment, *count);
                *moment = NULL;
                *count = 0;
                return HONE_FAILED;
            }
            ++*count;
        }
    return HONE_OK;
}

void hone_checkpoint_free_moments(hone_checkpoint_moment *moment, int64_t count)
{
    for (int64_t i = 0; i < count; i++) hone_free(moment[i].name);
    hone_free(moment);
}

static bool same_shape(const hone_tensor *t, const hone_safetensor *saved)
{
    bool same = saved->rank == t->rank && saved->kind == t->dtype;
    for (int d = 0; same && d < t->rank; d++) same = saved->dim[d] == t->dim[d];
    return same;
}

// A moment to its place, or in pieces to its home.
static hone_status load_moment(const hone_safetensors *set, const hone_safetensor *saved, hone_tid id, hone_place_fn data, hone_carry_fn carry, void *context)
{
    enum { PIECE_BYTES = 1 << 20 };
    void *place = data(context, id);
    if (place) {
        hone_safetensor_read(set, saved, 0, saved->count, saved->kind, place);
        return HONE_OK;
    }
    const int64_t bytes = (int64_t)hone_dtype_bytes(saved->kind), piece = PIECE_BYTES / bytes;
    void *scratch = hone_alloc(PIECE_BYTES, 1);
    hone_status status = scratch ? HONE_OK : HONE_FAILED;
    for (int64_t at = 0; at < saved->count && !status; at += piece) {
        int64_t n = saved->count - at < piece ? saved->count - at : piece;
        hone_safetensor_read(set, saved, at, n, saved->kind, scratch);
        status = carry(context, id, (size_t)(at * bytes), (size_t)(n * bytes), scratch, true);
    }
    hone_free(scratch);
    return status;
}

static hone_status load_moments(const char *path, const hone_model *model, hone_place_fn data, hone_carry_fn carry, void *context)
{
    hone_checkpoint_moment *moment;
    hone_safetensors set = { 0 };
    int64_t count;
    hone_status status = hone_checkpoint_list_moments(model, &moment, &count);
    if (status) return status;
    char *file = hone_path_join(path, "optimizer.safetensors");
    if (!file) status = HONE_FAILED;
    else if (count) status = hone_safetensors_open(&set, file);
    if (!status && count && set.count != count)
        status = hone_fail("%s: has %" PRId64 " moments, this training has %" PRId64 "; it belongs to another model or optimizer", file, set.count, count);
    for (int64_t i = 0; i < count && !status; i++) {
        const hone_safetensor *saved = hone_safetensors_find(&set, moment[i].name);
        if (!saved || !same_shape(hone_at(model->graph, moment[i].id), saved))
            status = hone_fail("%s: %s is missing or of another shape or type; it belongs to another model or optimizer", file, moment[i].name);
    }
    for (int64_t i = 0; i < count && !status; i++) {
        const hone_safetensor *saved = hone_safetensors_find(&set, moment[i].name);
        status = load_moment(&set, saved, moment[i].id, data, carry, context);
    }
    hone_safetensors_close(&set);
    hone_free(file);
    hone_checkpoint_free_moments(moment, count);
    return status;
}

static hone_status load_factors(const char *path, const hone_model *model, hone_place_fn data, void *context)
{
    hone_peft peft;
    hone_status status = hone_peft_open(&peft, path);
    if (status) return status;
    status = hone_peft_load(&peft, model, data, context);
    hone_peft_close(&peft);
    return status;
}

hone_status hone_checkpoint_load(const char *path, const hone_model *model, hone_place_fn data, hone_carry_fn carry, void *context,
                                 hone_checkpoint_state *state)
{
    hone_checkpoint_state read;
    hone_status status = hone_checkpoint_read_state(path, &read);
    if (status) return status;
    status = model->lora.rank ? load_factors(path, model, data, context) : hone_hf_load(model, path, data, context);
    if (!status) status = load_moments(path, model, data, carry, context);
    if (status || !state) hone_checkpoint_state_release(&read);
    if (state) *state = read;
    return status;
}
