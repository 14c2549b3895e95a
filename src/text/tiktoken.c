// tiktoken.c: tiktoken's rank files. See convert.h.
//
// Tokens are byte strings, and the rank of a merge is the rank of the token that it makes; so every way to make a token
// of two others is a merge, equal to the others that make it (model.merges_by_token).
#include "text/convert.h"
#include "text/parts.h"

#include <inttypes.h>
#include <string.h>

const char hone_cl100k_pattern[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const char hone_o200k_pattern[] = "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
                            "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
                            "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

typedef struct { const char *name; int64_t ranks; const char *pattern; struct { const char *token; int64_t id; } special[6]; } encoding;
static const encoding encodings[] = {
    { "r50k_base (GPT-2)", 50256, hone_gpt2_pattern, { { "<|endoftext|>", 50256 } } },
    { "p50k_base", 50280, hone_gpt2_pattern, { { "<|endoftext|>", 50256 } } },
    { "cl100k_base", 100256, hone_cl100k_pattern, { { "<|endoftext|>", 100257 }, { "<|fim_prefix|>", 100258 }, { "<|fim_middle|>", 100259 }, { "<|fim_suffix|>", 100260 }, { "<|endofprompt|>", 100276 } } },
    { "o200k_base", 199998, hone_o200k_pattern, { { "<|endoftext|>", 199999 }, { "<|endofprompt|>", 200018 } } },
};

static hone_status to_chars(const char *bytes, size_t size, hone_buffer *out)
{
    hone_status status = HONE_OK;
    out->size = 0;
    for (size_t i = 0; i < size && !status; i++) {
        char text[2];
        status = hone_buffer_append(out, text, (size_t)hone_byte_to_char((uint8_t)bytes[i], text));
    }
    return status;
}

// Tokens as bytes, by rank; *count is how many there are.
static hone_status read_ranks(const char *path, const char *text, size_t size, hone_vocab *vocab, int64_t *count)
{
    hone_buffer bytes = { 0 };
    hone_status status = HONE_OK;
    int64_t line = 0;
    *count = 0;
    for (const char *at = text, *end = text + size, *next; at < end && !status; at = next) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        next = stop ? stop + 1 : end;
        if (!stop) stop = end;
        if (stop > at && stop[-1] == '\r') stop--;
        line++;
        if (stop == at) continue;
        const char *space = memchr(at, ' ', (size_t)(stop - at));
        int64_t rank = 0;
        bool valid = space != NULL && stop - space >= 2 && stop - space <= 10;
        for (const char *p = valid ? space + 1 : stop; p < stop && valid; p++) {
            valid = *p >= '0' && *p <= '9';
            rank = rank * 10 + (*p - '0');
        }
        bytes.size = 0;
        if (valid) status = hone_base64_decode(at, (size_t)(space - at), &bytes, &valid);
        if (status) break;
        if (!valid || bytes.size == 0) status = hone_fail("%s:%" PRId64 ": a line \"base64 rank\" is expected", path, line);
        else if (hone_vocab_find(vocab, bytes.data, bytes.size) >= 0) status = hone_fail("%s:%" PRId64 ": this token has a rank already, %d", path, line, hone_vocab_find(vocab, bytes.data, bytes.size));
        else status = hone_vocab_add(vocab, rank, bytes.data, bytes.size, path);
        ++*count;
    }
    hone_buffer_release(&bytes);
    return status;
}

static const encoding *find_encoding(int64_t ranks)
{
    for (size_t i = 0; i < sizeof encodings / sizeof *encodings; i++)
        if (encodings[i].ranks == ranks) return &encodings[i];
    return NULL;
}

// All ways to make token `id` of two others.
static hone_status add_merges(const hone_vocab *vocab, int32_t id, json_t *merges)
{
    const char *bytes = hone_vocab_content(vocab, id);
    size_t size = vocab->token[id].size;
    hone_buffer half[2] = { 0 };
    hone_status status = HONE_OK;
    for (size_t cut = 1; cut < size && !status; cut++) {
        if (hone_vocab_find(vocab, bytes, cut) < 0 || hone_vocab_find(vocab, bytes + cut, size - cut) < 0) continue;
        status = to_chars(bytes, cut, &half[0]);
        if (!status) status = to_chars(bytes + cut, size - cut, &half[1]);
        json_t *merge = status ? NULL : json_array();
        if (!status && (!merge || json_array_append_new(merge, json_stringn(half[0].data, half[0].size)) || json_array_append_new(merge, json_stringn(half[1].data, half[1].size))
                        || json_array_append(merges, merge))) status = hone_fail("no memory for the merges of a tiktoken file");
        json_decref(merge);
    }
    hone_buffer_release(&half[0]);
    hone_buffer_release(&half[1]);
    return status;
}

static json_t *pre_tokenizer(const char *pattern)
{
    return json_pack("{s:s, s:[{s:s, s:{s:s}, s:s, s:b}, o]}", "type", "Sequence", "pretokenizers", "type", "Split", "pattern", "Regex", pattern,
                     "behavior", "Isolated", "invert", 0, hone_byte_level_json(false));
}

hone_status hone_convert_tiktoken(const char *path, const char *text, size_t size, json_t **out)
{
    hone_vocab vocab = { 0 };
    hone_buffer chars = { 0 };
    int64_t ranks;
    json_t *table = json_object(), *merges = json_array(), *added = json_array();
    hone_status status = read_ranks(path, text, size, &vocab, &ranks);
    const encoding *known = status ? NULL : find_encoding(ranks);
    if (!status && !known)
        status = hone_fail("%s: a tiktoken file of %" PRId64 " ranks is not one that hone knows (r50k_base 50256, p50k_base 50280, cl100k_base 100256, o200k_base 199998), "
                           "so its regular expression is not known; a tokenizer.json says it", path, ranks);
    for (int64_t id = 0; id < vocab.count && !status; id++) {
        if (!vocab.token[id].exists) continue;
        status = to_chars(hone_vocab_content(&vocab, (int32_t)id), vocab.token[id].size, &chars);
        if (!status && json_object_setn_new(table, chars.data, chars.size, json_integer(id))) status = hone_fail("%s: no memory", path);
        if (!status) status = add_merges(&vocab, (int32_t)id, merges);
    }
    for (int i = 0; i < 6 && !status && known->special[i].token; i++)
        if (json_array_append_new(added, hone_added_json(known->special[i].id, known->special[i].token, true))) status = hone_fail("%s: no memory", path);
    if (!status) {
        json_t *model = json_pack("{s:s, s:n, s:n, s:b, s:b, s:b, s:b, s:O, s:O}", "type", "BPE", "dropout", "unk_token", "fuse_unk", 0, "byte_fallback", 0,
                                  "ignore_merges", 1, "merges_by_token", 1, "vocab", table, "merges", merges);
        *out = hone_tokenizer_json(&(hone_tokenizer_parts){ json_incref(added), NULL, pre_tokenizer(known->pattern), NULL, hone_byte_level_json(true), model });
        if (!*out) status = hone_fail("%s: no memory", path);
    }
    json_decref(table);
    json_decref(merges);
    json_decref(added);
    hone_buffer_release(&chars);
    hone_vocab_release(&vocab);
    return status;
}
