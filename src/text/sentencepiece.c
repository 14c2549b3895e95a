// sentencepiece.c: SentencePiece's model files (Kudo and Richardson 2018, arXiv:1808.06226). See convert.h.
//
// A file is one protobuf message, ModelProto. What is read of it (number: field):
//     1: pieces, each { 1: text, 2: score, 3: type }
//     2: trainer  { 3: model type, 24: whitespace as suffix, 35: byte fallback, 40..43: ids of unk, bos, eos, pad }
//     3: normalizer { 2: table of replacements, 3: add dummy prefix, 4: remove extra whitespace, 5: escape whitespace }
#include "text/convert.h"
#include "text/parts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { NORMAL = HONE_PIECE_NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };
typedef hone_spm_piece piece;
typedef hone_spm model;

// --- protobuf: a message is a row of (number << 3 | wire type, value)
typedef struct { uint64_t number, value; const char *data; size_t size; } field; // value of varints and fixed ones; data of the rest
typedef struct { const char *at, *end, *path; } reader;

static bool read_varint(reader *r, uint64_t *value)
{
    *value = 0;
    for (int shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        uint8_t byte = (uint8_t)*r->at++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return true;
    }
    return false;
}

// *more is false at the message's end.
static hone_status next_field(reader *r, field *f, bool *more)
{
    uint64_t key, size = 0;
    *f = (field){ 0 };
    if (!(*more = r->at < r->end)) return HONE_OK;
    bool good = read_varint(r, &key);
    f->number = key >> 3;
    switch (good ? key & 7 : 7) {
    case 0: good = read_varint(r, &f->value); break;
    case 1: size = 8; break;
    case 2: good = read_varint(r, &size); break;
    case 5: size = 4; break;
    default: good = false;
    }
    if (!good || size > (uint64_t)(r->end - r->at)) return hone_fail("%s: not a SentencePiece model: field %" PRIu64 " of its protobuf is cut short or malformed", r->path, f->number);
    f->data = r->at;
    f->size = size;
    if ((key & 7) == 5) { uint32_t word; memcpy(&word, r->at, 4); f->value = word; }
    r->at += size;
    return HONE_OK;
}

static hone_status read_piece(model *m, const field *whole)
{
    reader r = { whole->data, whole->data + whole->size, m->path };
    piece p = { .type = NORMAL, .id = m->count, .text = "" };
    field f;
    bool more;
    hone_status status;
    while (!(status = next_field(&r, &f, &more)) && more) {
        uint32_t bits = (uint32_t)f.value;
        if (f.number == 1) { p.text = f.data; p.size = f.size; }
        if (f.number == 2) memcpy(&p.score, &bits, sizeof p.score);
        if (f.number == 3) p.type = (int64_t)f.value;
    }
    if (status) return status;
    if (p.size == 0 || hone_utf8_valid(p.text, p.size) != p.size || memchr(p.text, 0, p.size)) return hone_fail("%s: piece %" PRId64 " is empty or no text", m->path, p.id);
    if (p.type < NORMAL || p.type > BYTE) return hone_fail("%s: piece %" PRId64 " has the unknown type %" PRId64, m->path, p.id, p.type);
    if (p.type == UNUSED) return hone_fail("%s: piece %" PRId64 " \"%.*s\" is marked unused, which is not supported", m->path, p.id, (int)p.size, p.text);
    if (!(p.score > -1e30f && p.score < 1e30f)) return hone_fail("%s: piece %" PRId64 " has no finite score", m->path, p.id);
    if (hone_grow(&m->piece, m->count, &m->capacity, sizeof *m->piece)) return HONE_FAILED;
    m->piece[m->count++] = p;
    return HONE_OK;
}

static hone_status read_specs(model *m, const field *whole, bool trainer)
{
    reader r = { whole->data, whole->data + whole->size, m->path };
    field f;
    bool more;
    hone_status status;
    while (!(status = next_field(&r, &f, &more)) && more) {
        int64_t id = (int32_t)(uint32_t)f.value; // int32: negative ones are written with 64 bits
        switch (trainer ? (int64_t)f.number : -(int64_t)f.number) {
        case 3: m->type = (int64_t)f.value; break;
        case 24: m->suffix = f.value != 0; break;
        case 35: m->byte_fallback = f.value != 0; break;
        case 40: m->unk = id; break;
        case 41: m->bos = id; break;
        case 42: m->eos = id; break;
        case 43: m->pad = id; break;
        case -2: m->charsmap = f.data; m->charsmap_size = f.size; break;
        case -3: m->prefix = f.value != 0; break;
        case -4: m->squeeze = f.value != 0; break;
        case -5: m->escape = f.value != 0; break;
        default: break; // about training, or names
        }
    }
    return status;
}

static hone_status read_model(model *m, const char *data, size_t size)
{
    static const char *const name[] = { "", "unigram", "bpe", "word", "char" };
    reader r = { data, data + size, m->path };
    field f;
    bool more;
    hone_status status;
    *m = (model){ .path = m->path, .type = 1, .unk = 0, .bos = 1, .eos = 2, .pad = -1, .prefix = true, .squeeze = true, .escape = true };
    while (!(status = next_field(&r, &f, &more)) && more) {
        if (f.number == 1) status = read_piece(m, &f);
        if (f.number == 2 || f.number == 3) status = read_specs(m, &f, f.number == 2);
        if (status) return status;
    }
    if (status) return status;
    if (m->count == 0) return hone_fail("%s: not a SentencePiece model: it has no pieces", m->path);
    if (m->type != 1 && m->type != 2) return hone_fail("%s: a SentencePiece model of type \"%s\" is not supported (supported are unigram, bpe)", m->path, m->type >= 3 && m->type <= 4 ? name[m->type] : "?");
    if (m->suffix) return hone_fail("%s: treat_whitespace_as_suffix is not supported", m->path);
    if (!m->escape) return hone_fail("%s: escape_whitespaces = false is not supported", m->path);
    for (int64_t i = 0; i < m->count; i++)
        if (m->piece[i].type == UNKNOWN) m->unk = i;
    return HONE_OK;
}

// --- parts of the tokenizer.json

static json_t *replace(const char *kind, const char *from, const char *to)
{
    return json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", kind, from, "content", to);
}

static json_t *string_of(const piece *p) { return json_stringn(p->text, p->size); }

static json_t *normalizer(const model *m)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    json_t *list = json_array();
    int failed = !list;
    if (m->charsmap_size) {
        char *text = hone_alloc(m->charsmap_size / 3 * 4 + 8, 1), *at = text;
        for (size_t i = 0; text && i < m->charsmap_size; i += 3) {
            uint32_t bits = 0;
            for (size_t b = 0; b < 3; b++) bits = bits << 8 | (i + b < m->charsmap_size ? (uint8_t)m->charsmap[i + b] : 0);
            for (size_t b = 0; b < 4; b++) *at++ = i + b > m->charsmap_size ? '=' : digits[bits >> (18 - 6 * b) & 63];
        }
        failed |= !text || json_array_append_new(list, json_pack("{s:s, s:s, s:b}", "type", "Precompiled", "precompiled_charsmap", text, "longest", 1));
        hone_free(text);
    }
    if (m->squeeze) {
        failed |= json_array_append_new(list, replace("Regex", "\\A +| +\\z", ""));
        failed |= json_array_append_new(list, replace("Regex", " {2,}", " "));
    }
    if (m->prefix) failed |= json_array_append_new(list, json_pack("{s:s, s:s, s:b}", "type", "Prepend", "prepend", "\xe2\x96\x81", "first_only", 1));
    failed |= json_array_append_new(list, replace("String", " ", "\xe2\x96\x81"));
    json_t *sequence = failed ? NULL : json_pack("{s:s, s:O}", "type", "Sequence", "normalizers", list);
    json_decref(list);
    return sequence;
}

static json_t *decoder(const model *m)
{
    json_t *list = json_pack("[o, {s:s}, {s:s}]", replace("String", "\xe2\x96\x81", " "), "type", "ByteFallback", "type", "Fuse");
    if (list && m->prefix) json_array_append_new(list, json_pack("{s:s, s:s, s:i, s:i}", "type", "Strip", "content", " ", "start", m->squeeze ? INT32_MAX : 1, "stop", 0));
    return list ? json_pack("{s:s, s:o}", "type", "Sequence", "decoders", list) : NULL;
}

// Control pieces are special; in a BPE model, user's pieces are cut out of the text before all else.
static json_t *added_tokens(const model *m)
{
    json_t *list = json_array();
    for (int64_t i = 0; list && i < m->count; i++) {
        const piece *p = &m->piece[i];
        bool special = p->type == CONTROL || p->type == UNKNOWN;
        if (!special && !(p->type == USER_DEFINED && m->type == 2)) continue;
        char *text = hone_format("%.*s", (int)p->size, p->text);
        int failed = !text || json_array_append_new(list, hone_added_json(i, text, special));
        hone_free(text);
        if (failed) { json_decref(list); return NULL; }
    }
    return list;
}

static json_t *post_processor(const model *m)
{
    if (m->bos < 0 || m->bos >= m->count || m->piece[m->bos].type != CONTROL) return json_null();
    char *bos = hone_format("%.*s", (int)m->piece[m->bos].size, m->piece[m->bos].text);
    json_t *json = bos ? hone_prefix_json(bos, m->bos) : NULL;
    hone_free(bos);
    return json;
}

static json_t *unigram(const model *m)
{
    double lowest = 0.0, highest = -1e30;
    json_t *vocab = json_array();
    int failed = !vocab;
    for (int64_t i = 0; i < m->count; i++) {
        if (m->piece[i].type != NORMAL) continue;
        if (m->piece[i].score < lowest) lowest = m->piece[i].score;
        if (m->piece[i].score > highest) highest = m->piece[i].score;
    }
    for (int64_t i = 0; i < m->count && !failed; i++) { // a user's piece always wins: its score is better than that of any cut of it
        const piece *p = &m->piece[i];
        double score = p->type == USER_DEFINED ? (double)p->size * highest - 0.1 : p->type == NORMAL ? (double)p->score : 0.0;
        failed |= json_array_append_new(vocab, json_pack("[o, f]", string_of(p), score));
    }
    json_t *json = failed ? NULL : json_pack("{s:s, s:I, s:b, s:b, s:f, s:O}", "type", "Unigram", "unk_id", (json_int_t)m->unk, "byte_fallback", m->byte_fallback,
                                             "apart_from_text", 1, "unknown_score", lowest - 10.0, "vocab", vocab);
    json_decref(vocab);
    return json;
}

static int by_score(const void *a, const void *b)
{
    const piece *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

// All ways to make a piece of two others, the best pieces first.
static int append_merges(json_t *merges, const hone_vocab *vocab, const piece *p)
{
    int failed = 0;
    for (size_t cut = 1; cut < p->size && !failed; cut++) {
        if (((uint8_t)p->text[cut] & 0xc0) == 0x80 || hone_vocab_find(vocab, p->text, cut) < 0 || hone_vocab_find(vocab, p->text + cut, p->size - cut) < 0) continue;
        failed = json_array_append_new(merges, json_pack("[o, o]", json_stringn(p->text, cut), json_stringn(p->text + cut, p->size - cut)));
    }
    return failed;
}

static json_t *bpe(model *m)
{
    hone_vocab vocab = { 0 };   // what merges are made of
    json_t *table = json_object(), *merges = json_array(), *json = NULL;
    int failed = !table || !merges;
    for (int64_t i = 0; i < m->count && !failed; i++) {
        const piece *p = &m->piece[i];
        failed |= json_object_setn_new(table, p->text, p->size, json_integer(i));
        if (p->type == NORMAL) failed |= hone_vocab_add(&vocab, i, p->text, p->size, m->path) != HONE_OK;
    }
    piece unk = m->unk >= 0 && m->unk < m->count ? m->piece[m->unk] : (piece){ 0 };
    qsort(m->piece, (size_t)m->count, sizeof *m->piece, by_score);
    for (int64_t i = 0; i < m->count && !failed; i++)
        if (m->piece[i].type == NORMAL) failed |= append_merges(merges, &vocab, &m->piece[i]);
    if (!failed)
        json = json_pack("{s:s, s:n, s:o, s:b, s:b, s:b, s:O, s:O}", "type", "BPE", "dropout", "unk_token", unk.size ? string_of(&unk) : json_null(), "fuse_unk", 1,
                         "byte_fallback", m->byte_fallback, "merges_by_token", 1, "vocab", table, "merges", merges);
    hone_vocab_release(&vocab);
    json_decref(table);
    json_decref(merges);
    return json;
}

hone_status hone_convert_pieces(hone_spm *m, json_t **out)
{
    hone_tokenizer_parts parts = { added_tokens(m), normalizer(m), NULL, post_processor(m), decoder(m), NULL };
    parts.model = m->type == 2 ? bpe(m) : unigram(m);
    bool whole = parts.added && parts.normalizer && parts.post_processor && parts.decoder && parts.model;
    *out = hone_tokenizer_json(&parts);
    if (*out && whole) return HONE_OK;
    json_decref(*out);
    *out = NULL;
    return hone_fail("%s: no memory", m->path);
}

hone_status hone_convert_sentencepiece(const char *path, const char *data, size_t size, json_t **out)
{
    model m = { .path = path };
    hone_status status = read_model(&m, data, size);
    if (!status) status = hone_convert_pieces(&m, out);
    hone_free(m.piece);
    return status;
}
