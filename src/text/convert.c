// convert.c: what all conversions share, and GPT-2's vocab.json + merges.txt. See convert.h.
#include "text/convert.h"
#include "base/file.h"
#include "base/memory.h"

#include <inttypes.h>
#include <string.h>

static json_t *or_null(json_t *part) { return part ? part : json_null(); }

json_t *hone_tokenizer_json(const hone_tokenizer_parts *parts)
{
    return json_pack("{s:s, s:n, s:n, s:o, s:o, s:o, s:o, s:o, s:o}", "version", "1.0", "truncation", "padding", "added_tokens", or_null(parts->added),
                     "normalizer", or_null(parts->normalizer), "pre_tokenizer", or_null(parts->pre_tokenizer), "post_processor", or_null(parts->post_processor),
                     "decoder", or_null(parts->decoder), "model", or_null(parts->model));
}

json_t *hone_added_json(int64_t id, const char *content, bool special)
{
    return json_pack("{s:I, s:s, s:b, s:b, s:b, s:b, s:b}", "id", (json_int_t)id, "content", content, "single_word", 0, "lstrip", 0, "rstrip", 0,
                     "normalized", 0, "special", special);
}

json_t *hone_byte_level_json(bool use_regex)
{
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex", use_regex);
}

json_t *hone_prefix_json(const char *token, int64_t id)
{
    return json_pack("{s:s, s:[{s:{s:s, s:i}}, {s:{s:s, s:i}}], s:[{s:{s:s, s:i}}, {s:{s:s, s:i}}, {s:{s:s, s:i}}], s:{s:{s:s, s:[I], s:[s]}}}",
        "type", "TemplateProcessing", "single", "SpecialToken", "id", token, "type_id", 0, "Sequence", "id", "A", "type_id", 0,
        "pair", "SpecialToken", "id", token, "type_id", 0, "Sequence", "id", "A", "type_id", 0, "Sequence", "id", "B", "type_id", 1,
        "special_tokens", token, "id", token, "ids", (json_int_t)id, "tokens", token);
}

// --- vocab.json + merges.txt

static hone_status read_merges_file(const char *path, json_t *merges)
{
    char *text = NULL;
    size_t size;
    hone_status status = hone_file_read(path, &text, &size);
    int64_t line = 0;
    for (char *at = text, *next; !status && at && *at; at = next) {
        char *end = strchr(at, '\n');
        next = end ? end + 1 : at + strlen(at);
        if (end) *end = 0;
        size_t length = strlen(at);
        if (length && at[length - 1] == '\r') at[length - 1] = 0;
        line++;
        if (!*at || (line == 1 && strncmp(at, "#version", 8) == 0)) continue;
        char *space = strchr(at, ' ');
        if (!space || space == at || !space[1] || strchr(space + 1, ' '))
            status = hone_fail("%s:%" PRId64 ": not a merge: two tokens with one space between them are expected", path, line);
        else if (json_array_append_new(merges, json_string(at)))
            status = hone_fail("%s:%" PRId64 ": not valid UTF-8", path, line);
    }
    hone_free(text);
    return status;
}

hone_status hone_convert_gpt2(const char *folder, json_t **out)
{
    char *vocab_path = hone_path_join(folder, "vocab.json"), *merges_path = hone_path_join(folder, "merges.txt");
    json_t *vocab = NULL, *merges = json_array(), *added = json_array(), *end;
    hone_status status = vocab_path && merges_path ? hone_json_load(vocab_path, &vocab) : HONE_FAILED;
    if (!status && !json_is_object(vocab)) status = hone_fail("%s: not a table of tokens and ids", vocab_path);
    if (!status && !hone_file_exists(merges_path)) status = hone_fail("%s: missing; it belongs to %s", merges_path, vocab_path);
    if (!status) status = read_merges_file(merges_path, merges);
    if (status) goto out;
    int failed = !added;
    if ((end = json_object_get(vocab, "<|endoftext|>"))) failed = json_array_append_new(added, hone_added_json(json_integer_value(end), "<|endoftext|>", true));
    json_t *model = json_pack("{s:s, s:n, s:n, s:s, s:s, s:b, s:b, s:O, s:O}", "type", "BPE", "dropout", "unk_token", "continuing_subword_prefix", "",
                              "end_of_word_suffix", "", "fuse_unk", 0, "byte_fallback", 0, "vocab", vocab, "merges", merges);
    *out = hone_tokenizer_json(&(hone_tokenizer_parts){ json_incref(added), NULL, hone_byte_level_json(true), hone_byte_level_json(true), hone_byte_level_json(true), model });
    if (!*out || failed) status = hone_fail("%s: out of memory", vocab_path);
out:
    json_decref(vocab);
    json_decref(merges);
    json_decref(added);
    hone_free(vocab_path);
    hone_free(merges_path);
    return status;
}
