// train.c: the trainer of train.h.
//
// Each distinct piece is a word: a row of symbols, with a count. A pair of neighbours has a count (the sum over words) and
// a list of the words that it appeared in. Merging a pair visits only those words, and changes only the counts of the
// pairs that touch the merged places. A heap gives the pair of highest count; its entries may be out of date: an entry
// whose count is no longer right is put back with the right one (lazy invalidation).
//
// To give the very merges of the original where two different pairs make the same string, the original's bookkeeping is
// kept: the count of a merged pair stays as it is, and a pair may be in the heap twice, with a list of words each.
#include "text/train_parts.h"
#include "text/convert.h"
#include "base/cpu.h"

typedef hone_pair pair;
typedef hone_pair_entry entry;
typedef hone_sighting sighting;

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

hone_status hone_trainer_new(hone_trainer **out, const hone_trainer_options *options)
{
    int64_t least = options->n_special + 256 + options->unigram; // and <unk>
    if (!options->base && options->vocab < least)
        return hone_fail("a vocabulary of %" PRId64 " is too small: %" PRId64 " special tokens and the 256 bytes need %" PRId64, options->vocab,
                         options->n_special, least);
    if (options->vocab > 1 << 24) return hone_fail("a vocabulary of %" PRId64 " is too large: at most %d", options->vocab, 1 << 24);
    hone_trainer *trainer = hone_alloc(1, sizeof *trainer);
    if (!trainer) return HONE_FAILED;
    trainer->options = *options;
    if (options->memory_bytes && !(trainer->spill.folder = hone_strdup(options->spill_folder))) { hone_free(trainer); return HONE_FAILED; }
    hone_status status = options->base ? hone_trainer_begin_at(trainer, options->base) : HONE_OK;
    if (options->base) {
        if (status) hone_trainer_free(trainer);
        else *out = trainer;
        return status;
    }
    for (int64_t i = 0; i < options->n_special && !status; i++) {
        if (!*options->special[i]) status = hone_fail("special token %" PRId64 " is empty", i);
        else if (hone_vocab_find(&trainer->vocab, options->special[i], strlen(options->special[i])) >= 0)
            status = hone_fail("special token \"%s\" is given twice", options->special[i]);
        else status = hone_vocab_add(&trainer->vocab, i, options->special[i], strlen(options->special[i]), "special tokens");
    }
    // bytes in the order of their characters: those that stand for themselves, then those written from U+0100 on
    for (int pass = 0; pass < 2 && !status; pass++)
        for (int b = 0; b < 256 && !status; b++) {
            char text[2];
            int length, size = hone_byte_to_char((uint8_t)b, text);
            if ((hone_utf8_next(text, (size_t)size, &length) >= 256) != pass) continue;
            if (hone_vocab_find(&trainer->vocab, text, (size_t)size) >= 0) { status = hone_fail("special token \"%.*s\" is a byte's character", size, text); break; }
            trainer->byte_id[b] = (int32_t)trainer->vocab.count;
            status = hone_vocab_add(&trainer->vocab, trainer->vocab.count, text, (size_t)size, "bytes");
        }
    if (status) hone_trainer_free(trainer);
    else *out = trainer;
    return status;
}

void hone_trainer_free(hone_trainer *trainer)
{
    if (!trainer) return;
    void *owned[] = { trainer->merge, trainer->symbol, trainer->start, trainer->length, trainer->pair, trainer->slot, trainer->heap, trainer->place,
                      trainer->seen, trainer->touched };
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) hone_free(owned[i]);
    hone_words_release(&trainer->words);
    hone_spill_release(&trainer->spill);
    hone_unigram_release(&trainer->unigram);
    hone_vocab_release(&trainer->vocab);
    hone_free(trainer);
}

// --- counting pieces

static hone_status count_piece(hone_words *words, const char *text, size_t size)
{
    return hone_words_add(words, text, size, hone_words_hash(text, size), 1);
}

static hone_status count_bpe(hone_words *words, hone_split_fn split, const char *text, size_t size)
{
    hone_status status = HONE_OK;
    for (size_t place = 0, end; place < size && !status; place = end) {
        end = split(text, size, place);
        status = count_piece(words, text + place, end - place);
    }
    return status;
}

// Words of a Unigram model: each begins with its spaces, written as marks; line ends and tabs stand apart.
static hone_status count_unigram(hone_words *words, hone_buffer *room, const char *text, size_t size)
{
    static const char mark[] = "\xe2\x96\x81";
    hone_status status = HONE_OK;
    room->size = 0;
    if (size && text[0] != ' ') status = hone_buffer_append(room, mark, 3);
    for (size_t i = 0; i < size && !status; i++) {
        bool space = text[i] == ' ', control = text[i] == '\n' || text[i] == '\t' || text[i] == '\r';
        bool follows = i && (text[i - 1] == ' ' || text[i - 1] == '\n' || text[i - 1] == '\t' || text[i - 1] == '\r');
        if (room->size && (control || (space && i && text[i - 1] != ' ') || (follows && !space && text[i - 1] != ' '))) {
            status = count_piece(words, room->data, room->size);
            room->size = 0;
        }
        if (!status) status = space ? hone_buffer_append(room, mark, 3) : hone_buffer_append(room, text + i, 1);
    }
    return !status && room->size ? count_piece(words, room->data, room->size) : status;
}

static hone_status count_text(hone_words *words, const hone_trainer_options *options, hone_split_fn split, hone_buffer *room, const char *text, size_t size)
{
    if (options->base) return hone_tokenizer_count_pieces(options->base, text, size, words);
    for (size_t place = 0; place < size; place++) { // bytes that are not UTF-8 belong to no piece
        size_t valid = hone_utf8_valid(text + place, size - place);
        hone_status status = options->unigram ? count_unigram(words, room, text + place, valid) : count_bpe(words, split, text + place, valid);
        if (status) return status;
        place += valid;
    }
    return HONE_OK;
}

hone_status hone_trainer_add(hone_trainer *trainer, int64_t n, const char *const *text, const size_t *size, bool by_line)
{
    int threads;
    hone_split_fn split = hone_split_find(hone_gpt2_pattern);
    hone_status status = hone_cpu_threads(&threads);
    if (status) return status;
    char message[512] = "";
    #pragma omp parallel num_threads(threads)
    {
        hone_words mine = { 0 };
        hone_buffer room = { 0 };
        hone_status local = HONE_OK;
        #pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < n; i++)
            for (size_t place = 0, end; !local && place < size[i]; place = end) {
                const char *line = by_line ? memchr(text[i] + place, '\n', size[i] - place) : NULL;
                end = line ? (size_t)(line - text[i]) + 1 : size[i];
                local = count_text(&mine, &trainer->options, split, &room, text[i] + place, end - place);
            }
        #pragma omp critical
        {
            for (int64_t w = 0; !local && w < mine.count; w++)
                local = hone_words_add(&trainer->words, mine.bytes.data + mine.word[w].offset, mine.word[w].size, mine.word[w].hash, mine.word[w].count);
            if (local && !status) {
                status = local;
                snprintf(message, sizeof message, "%s", hone_error());
            }
        }
        hone_words_release(&mine);
        hone_buffer_release(&room);
    }
    if (status) return hone_fail("%s", message);
    bool full = trainer->options.memory_bytes && hone_words_memory(&trainer->words) > trainer->options.memory_bytes / 2; // the other half: the threads' own tables
    return full ? hone_spill_out(&trainer->spill, &trainer->words) : HONE_OK;
}

// --- pairs

static hone_status grow_slots(hone_trainer *t)
{
    int64_t slots = t->slots ? t->slots * 2 : 1 << 16;
    int32_t *slot = hone_alloc((size_t)slots, sizeof *slot);
    if (!slot) return HONE_FAILED;
    memset(slot, 0xff, (size_t)slots * sizeof *slot);
    for (int64_t p = 0; p < t->n_pairs; p++) {
        uint64_t s = hone_merges_hash(t->pair[p].left, t->pair[p].right);
        while (slot[s & (uint64_t)(slots - 1)] >= 0) s++;
        slot[s & (uint64_t)(slots - 1)] = (int32_t)p;
    }
    hone_free(t->slot);
    t->slot = slot;
    t->slots = slots;
    return HONE_OK;
}

// The pair's index, made where it is new; -1: no memory.
static int32_t find_pair(hone_trainer *t, int32_t left, int32_t right)
{
    if (t->n_pairs * 2 >= t->slots && grow_slots(t)) return -1;
    uint64_t s = hone_merges_hash((uint32_t)left, (uint32_t)right);
    for (int32_t p; (p = t->slot[s & (uint64_t)(t->slots - 1)]) >= 0; s++)
        if (t->pair[p].left == (uint32_t)left && t->pair[p].right == (uint32_t)right) return p;
    if (hone_grow(&t->pair, t->n_pairs, &t->pair_capacity, sizeof *t->pair)) return -1;
    t->pair[t->n_pairs] = (pair){ (uint32_t)left, (uint32_t)right, 0, -1, -1, 0 };
    t->slot[s & (uint64_t)(t->slots - 1)] = (int32_t)t->n_pairs;
    return (int32_t)t->n_pairs++;
}

static hone_status change(hone_trainer *t, int32_t left, int32_t right, int32_t word, int64_t by)
{
    int32_t index = find_pair(t, left, right);
    if (index < 0) return HONE_FAILED;
    pair *p = &t->pair[index];
    p->count += by;
    if (by < 0) return HONE_OK;
    if (p->step != t->step) {
        p->step = t->step;
        p->last_word = -1;
        p->fresh = 0;
        if (hone_grow(&t->touched, t->n_touched, &t->touched_capacity, sizeof *t->touched)) return HONE_FAILED;
        t->touched[t->n_touched++] = index;
    }
    if (p->last_word == word) return HONE_OK;
    p->last_word = word;
    p->fresh++;
    if (hone_grow(&t->seen, t->n_seen, &t->seen_capacity, sizeof *t->seen)) return HONE_FAILED;
    t->seen[t->n_seen++] = (sighting){ index, word };
    return HONE_OK;
}

// --- heap

static bool above(const entry *a, const entry *b)
{
    if (a->count != b->count) return a->count > b->count;
    return a->left != b->left ? a->left < b->left : a->right < b->right;
}

static void sift_down(hone_trainer *t, entry x)
{
    int64_t i = 0;
    for (int64_t child; (child = 2 * i + 1) < t->n_heap; i = child) {
        if (child + 1 < t->n_heap && above(&t->heap[child + 1], &t->heap[child])) child++;
        if (!above(&t->heap[child], &x)) break;
        t->heap[i] = t->heap[child];
    }
    t->heap[i] = x;
}

static hone_status push(hone_trainer *t, entry x)
{
    if (hone_grow(&t->heap, t->n_heap, &t->heap_capacity, sizeof *t->heap)) return HONE_FAILED;
    int64_t i = t->n_heap++;
    for (; i > 0 && above(&x, &t->heap[(i - 1) / 2]); i = (i - 1) / 2) t->heap[i] = t->heap[(i - 1) / 2];
    t->heap[i] = x;
    return HONE_OK;
}

// Puts the pairs that this step created into the heap, each with the words that it was created in.
static hone_status publish(hone_trainer *t)
{
    while (t->n_places + t->n_seen > t->place_capacity)
        if (hone_grow(&t->place, t->n_places + t->n_seen, &t->place_capacity, sizeof *t->place)) return HONE_FAILED;
    int64_t at = t->n_places;
    for (int64_t i = 0; i < t->n_touched; i++) {
        pair *p = &t->pair[t->touched[i]];
        entry x = { p->count, p->left, p->right, t->touched[i], p->fresh, at };
        at += p->fresh;
        p->fresh = (int32_t)(x.first - t->n_places); // where its next word goes
        if (x.count > 0 && push(t, x)) return HONE_FAILED;
    }
    for (int64_t i = 0; i < t->n_seen; i++) t->place[t->n_places + t->pair[t->seen[i].pair].fresh++] = t->seen[i].word;
    t->n_places = at;
    t->n_seen = t->n_touched = 0;
    t->step++;
    return HONE_OK;
}

// --- words

static hone_status lay_out_bytes(hone_trainer *t)
{
    int64_t total = 0;
    t->start = hone_alloc((size_t)t->words.count + 1, sizeof *t->start);
    t->length = hone_alloc((size_t)t->words.count + 1, sizeof *t->length);
    t->symbol = hone_alloc(t->words.bytes.size + 1, sizeof *t->symbol);
    if (!t->start || !t->length || !t->symbol) return HONE_FAILED;
    for (int64_t w = 0; w < t->words.count; w++) {
        const hone_word *word = &t->words.word[w];
        t->start[w] = total;
        t->length[w] = (int32_t)word->size;
        for (uint32_t i = 0; i < word->size; i++) t->symbol[total + i] = t->byte_id[(uint8_t)t->words.bytes.data[word->offset + i]];
        total += word->size;
    }
    return HONE_OK;
}

static hone_status lay_out_words(hone_trainer *t)
{
    hone_status status = t->options.base ? hone_trainer_lay_out_base(t) : lay_out_bytes(t);
    for (int64_t w = 0; w < t->words.count && !status; w++) {
        const int32_t *symbol = t->symbol + t->start[w];
        for (int32_t i = 0; i + 1 < t->length[w] && !status; i++) status = change(t, symbol[i], symbol[i + 1], (int32_t)w, t->words.word[w].count);
    }
    return status ? status : publish(t);
}

static hone_status merge_in_word(hone_trainer *t, int32_t w, int32_t left, int32_t right, int32_t made)
{
    int32_t *s = t->symbol + t->start[w], n = t->length[w], out = 0;
    int64_t count = t->words.word[w].count;
    hone_status status = HONE_OK;
    for (int32_t i = 0; i < n && !status; i++) { // s[0, out) is merged already, s[i, n) not yet
        if (s[i] != left || i + 1 == n || s[i + 1] != right) { s[out++] = s[i]; continue; }
        if (out > 0) {
            status = change(t, s[out - 1], left, w, -count);
            if (!status) status = change(t, s[out - 1], made, w, count);
        }
        if (!status && i + 2 < n) {
            status = change(t, right, s[i + 2], w, -count);
            if (!status) status = change(t, made, s[i + 2], w, count);
        }
        s[out++] = made;
        i++;
    }
    t->length[w] = out;
    return status;
}

// The id of the union of two tokens; a new one unless the same string exists.
static hone_status name_union(hone_trainer *t, uint32_t left, uint32_t right, int32_t *id)
{
    hone_buffer text = { 0 };
    hone_status status = hone_buffer_append(&text, hone_vocab_content(&t->vocab, (int32_t)left), t->vocab.token[left].size);
    if (!status) status = hone_buffer_append(&text, hone_vocab_content(&t->vocab, (int32_t)right), t->vocab.token[right].size);
    if (!status) {
        *id = hone_vocab_find(&t->vocab, text.data, text.size);
        if (*id < 0) {
            *id = (int32_t)t->vocab.count;
            status = hone_vocab_add(&t->vocab, *id, text.data, text.size, "merges");
        }
    }
    hone_buffer_release(&text);
    return status;
}

hone_status hone_trainer_run(hone_trainer *t, void (*progress)(void *context, int64_t vocab), void *context)
{
    int64_t reserved = t->options.n_special + 257; // <unk> and the bytes
    if (t->spill.rounds && (hone_spill_out(&t->spill, &t->words) || hone_spill_in(&t->spill, t->options.memory_bytes, &t->words))) return HONE_FAILED;
    if (t->options.unigram) return hone_unigram_learn(&t->words, t->options.vocab - reserved, &t->unigram, progress, context);
    hone_status status = lay_out_words(t);
    while (!status && t->vocab.count < t->options.vocab && t->n_heap) {
        entry top = t->heap[0];
        if (top.count != t->pair[top.pair].count) { // out of date: back with the right count
            top.count = t->pair[top.pair].count;
            sift_down(t, top);
            continue;
        }
        if (top.count < 1 || top.count < t->options.min_count) break;
        if (--t->n_heap) sift_down(t, t->heap[t->n_heap]);
        int32_t made;
        if (name_union(t, top.left, top.right, &made) || hone_grow(&t->merge, t->n_merges, &t->merge_capacity, sizeof *t->merge)) return HONE_FAILED;
        t->merge[t->n_merges][0] = (int32_t)top.left;
        t->merge[t->n_merges++][1] = (int32_t)top.right;
        for (int32_t i = 0; !status && i < top.n; i++) status = merge_in_word(t, t->place[top.first + i], (int32_t)top.left, (int32_t)top.right, made);
        if (!status) status = publish(t);
        if (progress && t->n_merges % 1024 == 0) progress(context, t->vocab.count);
    }
    return status;
}

int64_t hone_trainer_vocab(const hone_trainer *trainer)
{
    return trainer->options.unigram ? trainer->options.n_special + 257 + trainer->unigram.count : trainer->vocab.count;
}
int64_t hone_trainer_dropped(const hone_trainer *trainer) { return trainer->spill.dropped; }
bool hone_trainer_spilled(const hone_trainer *trainer) { return trainer->spill.rounds > 0; }
int64_t hone_trainer_words(const hone_trainer *trainer) { return trainer->words.count; }

// --- tokenizer.json

static json_t *content(const hone_trainer *t, int64_t id)
{
    return json_stringn(hone_vocab_content(&t->vocab, (int32_t)id), t->vocab.token[id].size);
}

static json_t *bpe_json(const hone_trainer *t)
{
    json_t *vocab = json_object(), *merges = json_array();
    int failed = !vocab || !merges;
    for (int64_t id = 0; !failed && id < t->vocab.count; id++)
        failed |= json_object_setn_new(vocab, hone_vocab_content(&t->vocab, (int32_t)id), t->vocab.token[id].size, json_integer(id));
    for (int64_t m = 0; !failed && m < t->n_merges; m++)
        failed |= json_array_append_new(merges, json_pack("[o, o]", content(t, t->merge[m][0]), content(t, t->merge[m][1])));
    json_t *model = failed ? NULL : json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:O, s:O}", "type", "BPE", "dropout", "unk_token", "continuing_subword_prefix",
                                              "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0, "ignore_merges", 0, "vocab", vocab, "merges", merges);
    json_decref(vocab);
    json_decref(merges);
    return model;
}

static json_t *unigram_json(const hone_trainer *t)
{
    json_t *vocab = json_array();
    int failed = !vocab;
    const hone_unigram *u = &t->unigram;
    double low = -10000.0; // of what no text shall be cut into: "<0x41>" written out is six characters
    for (int64_t i = 0; !failed && i < t->options.n_special; i++) failed |= json_array_append_new(vocab, json_pack("[o, f]", content(t, i), low));
    failed |= json_array_append_new(vocab, json_pack("[s, f]", "<unk>", low));
    for (int b = 0; !failed && b < 256; b++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", b);
        failed |= json_array_append_new(vocab, json_pack("[s, f]", name, low));
    }
    for (int64_t i = 0; !failed && i < u->count; i++)
        failed |= json_array_append_new(vocab, json_pack("[o, f]", json_stringn(u->bytes.data + u->piece[i].offset, u->piece[i].size), u->piece[i].score));
    json_t *model = failed ? NULL : json_pack("{s:s, s:I, s:b, s:O}", "type", "Unigram", "unk_id", (json_int_t)t->options.n_special, "byte_fallback", 1, "vocab", vocab);
    json_decref(vocab);
    return model;
}

static json_t *replace_json(const char *from, const char *to)
{
    return json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "String", from, "content", to);
}

hone_status hone_trainer_save(const hone_trainer *t, const char *path)
{
    if (t->options.base) {
        json_t *whole = hone_trainer_json_base(t);
        hone_status saved = whole ? hone_json_save(path, whole) : hone_fail("%s: no memory to write the tokenizer", path);
        json_decref(whole);
        return saved;
    }
    json_t *added = json_array();
    int failed = !added;
    for (int64_t i = 0; !failed && i < t->options.n_special; i++) failed |= json_array_append_new(added, hone_added_json(i, t->options.special[i], true));
    hone_tokenizer_parts parts = { .added = added };
    if (t->options.unigram) {
        failed |= json_array_append_new(added, hone_added_json(t->options.n_special, "<unk>", true));
        parts.normalizer = json_pack("{s:s, s:[{s:s, s:s}, o]}", "type", "Sequence", "normalizers", "type", "Prepend", "prepend", "\xe2\x96\x81", replace_json(" ", "\xe2\x96\x81"));
        parts.decoder = json_pack("{s:s, s:[o, {s:s}, {s:s}, {s:s, s:s, s:i, s:i}]}", "type", "Sequence", "decoders", replace_json("\xe2\x96\x81", " "), "type", "ByteFallback",
                                  "type", "Fuse", "type", "Strip", "content", " ", "start", 1, "stop", 0);
        parts.model = unigram_json(t);
    } else {
        parts.pre_tokenizer = hone_byte_level_json(true);
        parts.decoder = hone_byte_level_json(true);
        parts.model = bpe_json(t);
    }
    failed |= !parts.model || !parts.decoder || !(parts.normalizer || parts.pre_tokenizer);
    json_t *json = hone_tokenizer_json(&parts);
    hone_status status = json && !failed ? hone_json_save(path, json) : hone_fail("%s: no memory to write the tokenizer", path);
    json_decref(json);
    return status;
}
