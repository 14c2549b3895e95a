// talks.c: see talks.h.
#include "data/talks.h"
#include "base/json.h"
#include "base/lock.h"
#include "base/units.h"

#include <inttypes.h>
#include <string.h>

enum { VERSION = 1, SPLIT_SEED = 1 };   // the split is not the run's to draw: its held-out loss is comparable with other runs'

bool hone_talks_named(const char *path)
{
    int format = hone_format_of(path);
    return format >= 0 && hone_format_is_json((hone_input_format)format);
}

// Of assistants alone, as nothing said means it: then a template's own marks of answers hold (chat_mark.h).
static int roles_of(const hone_recipe *r)
{
    const hone_list *role = &r->roles_to_train;
    return role->count == 1 && strcmp(role->item[0], "assistant") == 0 ? 0 : (int)role->count;
}

static hone_prepare_options options_of(const hone_recipe *r, const char *const *path, const char *tokenizer, double held_out)
{
    return (hone_prepare_options){ .tokenizer = tokenizer, .files = path, .n_files = 1, .text_field = "text", .held_out = held_out, .seed = SPLIT_SEED, .chat = true,
                                   .chat_template = r->chat_template[0] ? r->chat_template : NULL, .allow_dropped = r->allow_dropped,
                                   .rules = { .role = (const char *const *)r->roles_to_train.item, .n_roles = roles_of(r), .train_on_prompt = r->train_on_prompt,
                                              .pairs = r->stage == HONE_stage_dpo, .cutoff_len = r->stage == HONE_stage_dpo ? r->cutoff_len : 0 } };
}

// What the folder depends on. allow_dropped is not in it: it changes whether there is one, not what it holds.
static hone_status print_identity(const hone_prepare_options *o, const hone_tokenizer *tokenizer, hone_buffer *out)
{
    hone_chat chat;
    uint64_t hash;
    hone_status status = hone_file_hash(o->files[0], &hash);
    if (!status) status = hone_chat_open(&chat, o->tokenizer, o->chat_template, tokenizer);
    if (status) return status;
    status = hone_buffer_print(out, "%d %016" PRIx64 " %016" PRIx64 " %016" PRIx64 " %.17g %d", VERSION, hash, hone_tokenizer_identity(tokenizer), chat.hash, o->held_out, o->rules.train_on_prompt);
    if (!status && o->rules.pairs) status = hone_buffer_print(out, " pairs %" PRId64, o->rules.cutoff_len);
    for (int i = 0; i < o->rules.n_roles && !status; i++) status = hone_buffer_print(out, "\n%s", o->rules.role[i]);
    hone_chat_close(&chat);
    return status;
}

// "out/run" -> "out/prepared"
static char *parent_of(const char *output_dir)
{
    size_t n = strlen(output_dir);
    while (n > 1 && output_dir[n - 1] == '/') n--;
    while (n > 0 && output_dir[n - 1] != '/') n--;
    return hone_format("%.*sprepared", (int)n, output_dir);
}

// "texts/talks.jsonl.gz" -> "talks-HASH"
static char *name_of(const char *path, uint64_t hash)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    return hone_format("%.*s-%016" PRIx64, (int)strcspn(name, "."), name, hash);
}

static hone_status prepare_once(const hone_prepare_options *o, const char *parent)
{
    hone_prepare_report report;
    hone_lock lock = { .fd = -1 };
    if (hone_dir_exists(o->output)) return HONE_OK;
    hone_status status = hone_dir_create(parent);
    if (!status) status = hone_lock_wait(&lock, parent, "preparing conversations");
    if (!status && !hone_dir_exists(o->output) && !(status = hone_prepare(o, &report))) hone_prepare_report_release(&report);
    hone_lock_release(&lock);
    return status;
}

hone_status hone_talks_prepare(const hone_recipe *recipe, const char *path, const char *tokenizer_path, const hone_tokenizer *tokenizer, double held_out, char **folder)
{
    hone_prepare_options o = options_of(recipe, &path, tokenizer_path, held_out);
    hone_buffer identity = { 0 };
    *folder = NULL;
    hone_status status = print_identity(&o, tokenizer, &identity);
    char *parent = status ? NULL : parent_of(recipe->output_dir), *name = status ? NULL : name_of(path, hone_hash64(identity.data, identity.size));
    if (!status && (!parent || !name || !(*folder = hone_path_join(parent, name)))) status = HONE_FAILED;
    o.output = *folder;
    if (!status) status = prepare_once(&o, parent);
    if (status) {
        hone_free(*folder);
        *folder = NULL;
    }
    hone_free(parent);
    hone_free(name);
    hone_buffer_release(&identity);
    return status;
}

static int64_t number(const json_t *object, const char *key) { return json_integer_value(json_object_get(object, key)); }

hone_status hone_talks_describe(const char *folder, hone_buffer *out)
{
    char *path = hone_path_join(folder, "data.json");
    json_t *about = NULL;
    hone_status status = !path ? HONE_FAILED : hone_file_exists(path) ? hone_json_load(path, &about) : HONE_OK;
    const json_t *report = json_object_get(about, "report");
    if (!status && json_object_get(report, "trained_tokens")) {
        int64_t tokens = 0;
        for (int s = 0; s < HONE_SPLIT_COUNT; s++) tokens += number(json_object_get(about, hone_split_name[s]), "tokens");
        status = hone_buffer_print(out, "%s %s, %s of %s tokens trained", hone_units_grouped(number(report, hone_chat_fate_name[HONE_CHAT_KEPT])).s,
                                   json_is_true(json_object_get(about, "pairs")) ? "pairs of replies" : "conversations",
                                   hone_units_grouped(number(report, "trained_tokens")).s, hone_units_grouped(tokens).s);
        for (int f = HONE_CHAT_KEPT + 1; f < HONE_CHAT_FATES && !status; f++)
            if (number(report, hone_chat_fate_name[f])) status = hone_buffer_print(out, "; %s left out: %s", hone_units_grouped(number(report, hone_chat_fate_name[f])).s, hone_chat_fate_what[f]);
    }
    json_decref(about);
    hone_free(path);
    return status;
}
