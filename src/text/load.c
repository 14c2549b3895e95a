// load.c: a tokenizer from its files, and back to them.
//
// Other formats are turned into the tokenizer.json that says the same (convert.h), then all go one way.
#include "text/parts.h"
#include "base/file.h"
#include "base/gguf.h"
#include "text/convert.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

hone_status hone_refuse(const char *where, const char *part, const char *type, const char *const *known, int n_known)
{
    hone_buffer list = { 0 };
    for (int k = 0; k < n_known; k++)
        if (hone_buffer_print(&list, "%s%s", k ? ", " : "", known[k])) break;
    hone_fail("%s: the %s \"%s\" is not supported (supported are %s)", where, part, type, list.data ? list.data : "");
    hone_buffer_release(&list);
    return HONE_FAILED;
}

// --- tokenizer.json

static const char *type_of(const hone_component_table *table, int kind)
{
    return *(const char *const *)(const void *)((const char *)table->kinds + (size_t)kind * table->kind_size);
}

static hone_status read_sequence(hone_tokenizer *tokenizer, const json_t *json, const char *where, const hone_component_table *table)
{
    size_t i;
    json_t *part, *list = json_object_get(json, table->list);
    if (!json_is_array(list)) return hone_fail("%s: %s \"Sequence\" without a list \"%s\"", where, table->what, table->list);
    hone_status status = HONE_OK;
    json_array_foreach(list, i, part)
        if ((status = hone_components_read(tokenizer, part, where, table))) break;
    return status;
}

hone_status hone_components_read(hone_tokenizer *tokenizer, const json_t *json, const char *where, const hone_component_table *table)
{
    enum { MOST = 32 };
    const char *type = NULL, *known[MOST] = { "Sequence" };
    HONE_ASSERT(table->n_kinds < MOST, "%d", table->n_kinds);
    if (!json || json_is_null(json)) return HONE_OK;
    hone_status status = hone_json_text(json, "type", where, true, &type);
    if (status) return status;
    if (strcmp(type, known[0]) == 0) return read_sequence(tokenizer, json, where, table);
    for (int kind = 0; kind < table->n_kinds; kind++) {
        known[kind + 1] = type_of(table, kind);
        if (strcmp(known[kind + 1], type) == 0) return table->add(tokenizer, kind, json, where);
    }
    return hone_refuse(where, table->what, type, known, table->n_kinds + 1);
}

typedef struct { int32_t id; bool normalized; hone_added_flags flags; } added_row;

static hone_status read_added_row(hone_tokenizer *tokenizer, const json_t *json, const char *where, added_row *row)
{
    const char *content = NULL;
    int64_t id = 0;
    bool special = false;
    hone_status status = hone_json_text(json, "content", where, true, &content);
    if (!status) status = hone_json_int(json, "id", where, true, &id);
    if (!status) status = hone_json_bool(json, "special", where, false, &special);
    row->normalized = !special; // where the file does not say
    if (!status) status = hone_json_bool(json, "normalized", where, false, &row->normalized);
    if (!status) status = hone_json_bool(json, "single_word", where, false, &row->flags.single_word);
    if (!status) status = hone_json_bool(json, "lstrip", where, false, &row->flags.lstrip);
    if (!status) status = hone_json_bool(json, "rstrip", where, false, &row->flags.rstrip);
    if (status) return status;
    size_t size = strlen(content);
    int32_t found = hone_vocab_find(&tokenizer->vocab, content, size);
    if (found >= 0 && found != id)
        return hone_fail("%s: added token \"%s\" has id %" PRId64 ", but %d in the vocabulary", where, content, id, found);
    if (found < 0 && (status = hone_vocab_add(&tokenizer->vocab, id, content, size, where))) return status;
    hone_token *token = &tokenizer->vocab.token[id];
    token->added = true;
    token->special = special;
    token->beside = found < 0;
    row->id = (int32_t)id;
    return hone_buffer_print(&tokenizer->identity, "added %" PRId64 " %d %d %d %d;", id, row->normalized, row->flags.single_word, row->flags.lstrip, row->flags.rstrip);
}

static hone_status read_added(hone_tokenizer *tokenizer, const json_t *list, const char *where)
{
    size_t n = json_array_size(list), i;
    json_t *json;
    hone_encoder encoder = { .tokenizer = tokenizer }; // for the normalizers
    added_row *row = hone_alloc(n + 1, sizeof *row);
    hone_status status = row ? hone_matcher_init(&encoder.matcher) : HONE_FAILED;
    json_array_foreach(list, i, json)
        if (!status) status = read_added_row(tokenizer, json, where, &row[i]);
    if (!status && !(tokenizer->added_flags = hone_alloc((size_t)tokenizer->vocab.count, sizeof *tokenizer->added_flags))) status = HONE_FAILED;
    for (i = 0; !status && i < n; i++) {
        const char *content = hone_vocab_content(&tokenizer->vocab, row[i].id);
        size_t size = tokenizer->vocab.token[row[i].id].size;
        tokenizer->added_flags[row[i].id] = row[i].flags;
        if (row[i].normalized) status = hone_normalize(&encoder, content, size, false, &content, &size);
        if (!status) status = hone_added_insert(row[i].normalized ? &tokenizer->normalized : &tokenizer->raw, content, size, row[i].id);
    }
    for (i = 0; i < 2; i++) hone_buffer_release(&encoder.normal[i]);
    hone_free(encoder.scratch);
    hone_matcher_release(&encoder.matcher);
    hone_free(row);
    return status;
}

// The identity covers everything that ids depend on: components, merges, flags (written while reading) and the tokens.
static hone_status finish_identity(hone_tokenizer *tokenizer)
{
    const hone_vocab *vocab = &tokenizer->vocab;
    for (int64_t id = 0; id < vocab->count; id++) {
        const hone_token *token = &vocab->token[id];
        if (token->exists && hone_buffer_print(&tokenizer->identity, "%" PRId64 " %u:%.*s\n", id, token->size, (int)token->size, hone_vocab_content(vocab, (int32_t)id)))
            return HONE_FAILED;
    }
    tokenizer->identity_hash = hone_hash64(tokenizer->identity.data, tokenizer->identity.size);
    if (tokenizer->identity_hash == 0) tokenizer->identity_hash = 1; // 0 means unknown elsewhere
    hone_buffer_release(&tokenizer->identity);
    return HONE_OK;
}

static hone_status build(hone_tokenizer *tokenizer, json_t *json, const char *where)
{
    hone_status status = hone_normalizer_read(tokenizer, json_object_get(json, "normalizer"), where);
    if (!status) status = hone_pretokenizer_read(tokenizer, json_object_get(json, "pre_tokenizer"), where);
    if (!status) status = hone_model_read(tokenizer, json_object_get(json, "model"), where);
    if (!status) status = read_added(tokenizer, json_object_get(json, "added_tokens"), where);
    if (!status) status = hone_post_read(tokenizer, json_object_get(json, "post_processor"), where);
    if (!status) status = hone_decoder_read(tokenizer, json_object_get(json, "decoder"), where);
    if (!status) status = hone_decoder_prepare(tokenizer);
    if (!status) status = hone_model_prepare(tokenizer, where);
    return status ? status : finish_identity(tokenizer);
}

// --- files and folders

static bool exists_in(const char *folder, const char *name)
{
    char *path = hone_path_join(folder, name);
    bool there = path && hone_file_exists(path);
    hone_free(path);
    return there;
}

// What a file is, its first bytes say: "{" a tokenizer.json; a newline and a length, protobuf's first field, a SentencePiece
// model; else a tiktoken file.
static hone_status parse_source(const char *path, const char *text, size_t size, json_t **json, bool *converted)
{
    size_t start = 0;
    while (start < size && text[start] && strchr(" \t\r\n", text[start])) start++;
    *converted = !(start < size && text[start] == '{');
    if (!*converted) return hone_json_parse(path, text, size, json);
    if (size && text[0] == '\n') return hone_convert_sentencepiece(path, text, size, json);
    const char *space = memchr(text, ' ', size < 256 ? size : 256);
    if (space && space > text && space + 1 < text + size && space[1] >= '0' && space[1] <= '9') return hone_convert_tiktoken(path, text, size, json);
    return hone_json_parse(path, text, size, json); // whatever it is, it should have been this
}

// Finds what `path` means; *folder is where tokenizer_config.json would lie.
static hone_status load_json(hone_tokenizer *tokenizer, const char *path, char **folder, char **where, json_t **json)
{
    static const char *const names[] = { "tokenizer.json", "tokenizer.model", "vocab.json" };
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (hone_dir_exists(path)) {
        int n = 0;
        while (n < 2 && !exists_in(path, names[n])) n++;
        *folder = hone_strdup(path);
        *where = *folder ? hone_path_join(path, names[n]) : NULL;
        if (!*where) return HONE_FAILED;
        if (!hone_file_exists(*where)) return hone_fail("%s: no tokenizer there (neither tokenizer.json, tokenizer.model nor vocab.json with merges.txt)", path);
        name = names[n];
    } else {
        *folder = slash ? hone_format("%.*s", (int)(slash > path ? slash - path : 1), path) : hone_strdup(".");
        *where = *folder ? hone_strdup(path) : NULL;
        if (!*where) return HONE_FAILED;
    }
    hone_status status;
    bool converted = true;
    if (strcmp(name, "vocab.json") == 0) {
        status = hone_convert_gpt2(*folder, json);
    } else if (hone_gguf_is(*where)) {
        status = hone_convert_gguf(*where, json, &tokenizer->config);
        tokenizer->config_size = tokenizer->config ? strlen(tokenizer->config) : 0;
    } else {
        status = hone_file_read(*where, &tokenizer->source, &tokenizer->source_size);
        if (!status) status = parse_source(*where, tokenizer->source, tokenizer->source_size, json, &converted);
    }
    if (status || !converted) return status;
    char *text = hone_json_dumps(*json, JSON_INDENT(1)); // what a save writes
    if (!text) return hone_fail("%s: out of memory", path);
    hone_free(tokenizer->source);
    tokenizer->source_size = strlen(text);
    tokenizer->source = hone_strdup(text);
    hone_free(text);
    return tokenizer->source ? HONE_OK : HONE_FAILED;
}

static hone_tokenizer *new_tokenizer(void)
{
    hone_tokenizer *tokenizer = hone_alloc(1, sizeof *tokenizer);
    if (!tokenizer) return NULL;
    tokenizer->unk = -1;
    pthread_mutex_init(&tokenizer->lock, NULL);
    return tokenizer;
}

hone_status hone_tokenizer_load(const char *path, hone_tokenizer **out)
{
    json_t *json = NULL;
    char *folder = NULL, *where = NULL;
    hone_tokenizer *tokenizer = new_tokenizer();
    if (!tokenizer) return HONE_FAILED;
    hone_status status = load_json(tokenizer, path, &folder, &where, &json);
    if (!status) status = build(tokenizer, json, where);
    if (!status) status = hone_special_read(tokenizer, folder);
    json_decref(json);
    malloc_trim(0); // a large vocabulary's JSON tree takes 100 MB for a moment: hand it back
    hone_free(folder);
    hone_free(where);
    if (status) hone_tokenizer_free(tokenizer);
    else *out = tokenizer;
    return status;
}

hone_status hone_tokenizer_parse(const char *where, const char *text, size_t size, hone_tokenizer **out)
{
    json_t *json = NULL;
    bool converted;
    hone_tokenizer *tokenizer = new_tokenizer();
    if (!tokenizer) return HONE_FAILED;
    hone_status status = parse_source(where, text, size, &json, &converted);
    if (!status) status = build(tokenizer, json, where);
    json_decref(json);
    if (status) hone_tokenizer_free(tokenizer);
    else *out = tokenizer;
    return status;
}

void hone_tokenizer_free(hone_tokenizer *tokenizer)
{
    if (!tokenizer) return;
    for (hone_encoder *next; tokenizer->idle; tokenizer->idle = next) {
        next = tokenizer->idle->next;
        hone_encoder_free(tokenizer->idle);
    }
    for (int i = 0; i < tokenizer->n_normalizer; i++) {
        hone_normalizer *normalizer = &tokenizer->normalizer[i];
        hone_free(normalizer->from);
        hone_free(normalizer->to);
        hone_regex_free(normalizer->regex);
        hone_charsmap_free(normalizer->charsmap);
    }
    for (int i = 0; i < tokenizer->n_pretokenizer; i++) hone_regex_free(tokenizer->pretokenizer[i].regex);
    for (int i = 0; i < tokenizer->n_decoder; i++) { hone_free(tokenizer->decoder[i].from); hone_free(tokenizer->decoder[i].to); }
    hone_added_release(&tokenizer->raw);
    hone_added_release(&tokenizer->normalized);
    hone_free(tokenizer->added_flags);
    hone_free(tokenizer->prefix);
    hone_free(tokenizer->suffix);
    hone_free(tokenizer->merges.slot);
    hone_trie_release(&tokenizer->trie);
    hone_free(tokenizer->score);
    hone_free(tokenizer->prefix_mark);
    hone_vocab_release(&tokenizer->vocab);
    hone_buffer_release(&tokenizer->identity);
    hone_free(tokenizer->source);
    hone_free(tokenizer->config);
    hone_free(tokenizer->template);
    pthread_mutex_destroy(&tokenizer->lock);
    hone_free(tokenizer);
}

static json_t *token_name(const hone_tokenizer *tokenizer, int32_t id)
{
    return id < 0 ? json_null() : json_stringn(hone_vocab_content(&tokenizer->vocab, id), tokenizer->vocab.token[id].size);
}

// Where there was no tokenizer_config.json: the least that AutoTokenizer needs.
static hone_status save_config(const hone_tokenizer *tokenizer, const char *path)
{
    if (tokenizer->config) return hone_file_write(path, tokenizer->config, tokenizer->config_size);
    json_t *config = json_pack("{s:s, s:o, s:o, s:o, s:o, s:b}", "tokenizer_class", "PreTrainedTokenizerFast", "bos_token", token_name(tokenizer, tokenizer->special.bos),
                               "eos_token", token_name(tokenizer, tokenizer->special.eos), "pad_token", token_name(tokenizer, tokenizer->special.pad),
                               "unk_token", token_name(tokenizer, tokenizer->special.unk), "clean_up_tokenization_spaces", 0);
    hone_status status = config ? hone_json_save(path, config) : hone_fail("%s: out of memory", path);
    json_decref(config);
    return status;
}

hone_status hone_tokenizer_save(const hone_tokenizer *tokenizer, const char *folder)
{
    char *path = hone_path_join(folder, "tokenizer.json"), *config = hone_path_join(folder, "tokenizer_config.json"), *template = hone_path_join(folder, "chat_template.jinja");
    hone_status status = path && config && template ? hone_file_write(path, tokenizer->source, tokenizer->source_size) : HONE_FAILED;
    if (!status) status = save_config(tokenizer, config);
    if (!status && tokenizer->template) status = hone_file_write(template, tokenizer->template, tokenizer->template_size);
    hone_free(template);
    hone_free(path);
    hone_free(config);
    return status;
}

// --- questions

const hone_special_ids *hone_tokenizer_special(const hone_tokenizer *tokenizer) { return &tokenizer->special; }
int64_t hone_tokenizer_vocab(const hone_tokenizer *tokenizer) { return tokenizer->vocab.count; }
uint64_t hone_tokenizer_identity(const hone_tokenizer *tokenizer) { return tokenizer->identity_hash; }
int32_t hone_tokenizer_find(const hone_tokenizer *tokenizer, const char *token) { return hone_vocab_find(&tokenizer->vocab, token, strlen(token)); }

static const hone_token *token_at(const hone_tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && id < tokenizer->vocab.count && tokenizer->vocab.token[id].exists ? &tokenizer->vocab.token[id] : NULL;
}

const char *hone_tokenizer_token(const hone_tokenizer *tokenizer, int32_t id, size_t *size)
{
    const hone_token *token = token_at(tokenizer, id);
    *size = token ? token->size : 0;
    return token ? tokenizer->vocab.bytes.data + token->offset : NULL;
}

const char *hone_tokenizer_token_bytes(const hone_tokenizer *tokenizer, int32_t id, size_t *size)
{
    const hone_token *token = token_at(tokenizer, id);
    *size = token ? token->plain_size : 0;
    return token ? tokenizer->vocab.bytes.data + token->plain : NULL;
}

const char *hone_tokenizer_piece(const hone_tokenizer *tokenizer, int32_t id, size_t *size)
{
    return (tokenizer->byte_level ? hone_tokenizer_token_bytes : hone_tokenizer_token)(tokenizer, id, size);
}

bool hone_tokenizer_is_special(const hone_tokenizer *tokenizer, int32_t id)
{
    const hone_token *token = token_at(tokenizer, id);
    return token && token->special;
}

hone_status hone_tokenizer_describe(const hone_tokenizer *tokenizer, hone_buffer *text)
{
    const hone_special_ids *special = &tokenizer->special;
    const struct { const char *name; int32_t id; } named[] = { { "bos", special->bos }, { "eos", special->eos }, { "pad", special->pad }, { "unknown", special->unk } };
    int64_t added = 0;
    for (int64_t id = 0; id < tokenizer->vocab.count; id++) added += tokenizer->vocab.token[id].added;
    hone_status status = hone_buffer_print(text, "  model          %s, %s, %" PRId64 " ids (%" PRId64 " added)", tokenizer->model->type, tokenizer->byte_level ? "byte level"
        : tokenizer->byte_fallback ? "characters with byte fallback" : "characters", tokenizer->vocab.count, added);
    if (!status && tokenizer->merges.count) status = hone_buffer_print(text, ", %" PRId64 " merges", tokenizer->merges.count);
    if (!status) status = hone_buffer_append(text, "\n", 1);
    if (!status) status = hone_buffer_print(text, "  normalizers   ");
    for (int i = 0; !status && i < tokenizer->n_normalizer; i++) status = hone_buffer_print(text, " %s", tokenizer->normalizer[i].type);
    if (!status) status = hone_buffer_print(text, "%s\n  pre-tokenizers", tokenizer->n_normalizer ? "" : " none");
    for (int i = 0; !status && i < tokenizer->n_pretokenizer; i++) status = hone_buffer_print(text, " %s", tokenizer->pretokenizer[i].type);
    if (!status) status = hone_buffer_print(text, "%s\n  decoders      ", tokenizer->n_pretokenizer ? "" : " none");
    for (int i = 0; !status && i < tokenizer->n_decoder; i++) status = hone_buffer_print(text, " %s", tokenizer->decoder[i].type);
    if (!status) status = hone_buffer_print(text, "%s\n  special       ", tokenizer->n_decoder ? "" : " none");
    for (int i = 0; !status && i < 4; i++) {
        size_t size;
        const char *token = hone_tokenizer_token(tokenizer, named[i].id, &size);
        if (token) status = hone_buffer_print(text, " %s %.*s = %d", named[i].name, (int)size, token, named[i].id);
    }
    if (!status) status = hone_buffer_print(text, "\n  identity       %016" PRIx64 "\n", tokenizer->identity_hash);
    return status;
}
