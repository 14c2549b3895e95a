// train_unigram.c: the trainer of a Unigram model (Kudo 2018, arXiv:1804.10959), in the manner of SentencePiece.
//
//     seeds    all frequent parts of words, up to 16 characters, the best by count x length
//     EM       E: how often each piece is expected, over all ways to cut each word (forward, backward)
//              M: score = digamma(expected) - digamma(sum), pieces expected less than half a time go
//     prune    a piece costs what the words lose in likelihood when it is replaced by its second-best cut; the cheapest
//              quarter goes; until the size is reached
// Single characters stay (ASCII, and the most frequent that make up 99.95 % of the text, in half of the vocabulary at most);
// others are left to byte tokens.
//
// Expected counts are added up as integers of 2^-20, so that the sum does not depend on the order of threads.
#include "text/train_unigram.h"
#include "base/cpu.h"
#include "text/parts.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CHARS = 16, SEED_WORDS = 500000, SEEDS_PER_PIECE = 10, LEAST_SEEDS = 100000, WORD_BYTES = 4096 };
static const double one = 1 << 20, coverage = 0.9995, keep = 0.75, unknown_cost = 10.0;

typedef struct { const char *text; uint32_t size; bool single; double score; int64_t count; } piece;
typedef struct { const char *text; uint32_t size; int64_t count; } word;
typedef struct learner {
    word *word; int64_t words;
    piece *piece; int64_t pieces, capacity;
    hone_trie trie;
    double unknown;                     // score of a character without a piece
    int threads;
} learner;
typedef struct { double *forward, *backward; int32_t *start, *id; } lattice; // (WORD_BYTES + 1,)

static int by_count(const void *a, const void *b)
{
    const word *x = a, *y = b;
    if (x->count != y->count) return x->count > y->count ? -1 : 1;
    int order = memcmp(x->text, y->text, x->size < y->size ? x->size : y->size);
    return order ? order : (int)x->size - (int)y->size;
}

static int by_score(const void *a, const void *b)
{
    const piece *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    int order = memcmp(x->text, y->text, x->size < y->size ? x->size : y->size);
    return order ? order : (int)x->size - (int)y->size;
}

static double digamma(double x) // Bernardo 1976, AS 103
{
    double result = 0.0;
    while (x < 7.0) { // psi(x) = psi(x + 1) - 1 / x
        result -= 1.0 / x;
        x += 1.0;
    }
    x -= 0.5;
    double square = 1.0 / (x * x);
    return result + log(x) + square / 24.0 - square * square * 7.0 / 960.0 + square * square * square * 31.0 / 8064.0;
}

// --- seeds

static hone_status add_piece(learner *l, const char *text, uint32_t size, bool single, int64_t count, double score)
{
    if (hone_grow(&l->piece, l->pieces, &l->capacity, sizeof *l->piece)) return HONE_FAILED;
    l->piece[l->pieces++] = (piece){ text, size, single, score, count };
    return HONE_OK;
}

// Takes the parts out of `parts` as pieces: texts stay there.
static hone_status take_seeds(learner *l, const hone_words *chars, const hone_words *parts, int64_t goal, int64_t most)
{
    int64_t total = 0, covered = 0;
    word *sorted = hone_alloc((size_t)chars->count + 1, sizeof *sorted);
    if (!sorted) return HONE_FAILED;
    for (int64_t i = 0; i < chars->count; i++) {
        sorted[i] = (word){ chars->bytes.data + chars->word[i].offset, chars->word[i].size, chars->word[i].count };
        total += sorted[i].count;
    }
    qsort(sorted, (size_t)chars->count, sizeof *sorted, by_count);
    hone_status status = HONE_OK;
    for (int64_t i = 0; i < chars->count && !status; i++) {
        bool ascii = sorted[i].size == 1 && (uint8_t)sorted[i].text[0] > ' ';
        if (!ascii && ((double)covered >= coverage * (double)total || l->pieces >= goal / 2)) continue;
        status = add_piece(l, sorted[i].text, sorted[i].size, true, sorted[i].count, (double)sorted[i].count);
        if (!status) status = hone_trie_add(&l->trie, sorted[i].text, sorted[i].size, 1); // for now: which characters are known
        covered += sorted[i].count;
    }
    int64_t singles = l->pieces;
    for (int64_t i = 0; i < parts->count && !status; i++) {
        const hone_word *p = &parts->word[i];
        const char *text = parts->bytes.data + p->offset;
        int length, chars_in = 0;
        bool known = p->count >= 2;
        for (size_t at = 0; at < p->size && known; at += (size_t)length, chars_in++) {
            hone_utf8_next(text + at, p->size - at, &length);
            int32_t node = 0;
            for (int b = 0; b < length && node >= 0; b++) node = hone_trie_step(&l->trie, node, (uint8_t)text[at + (size_t)b]);
            known = node >= 0 && l->trie.id[node] >= 0;
        }
        if (known) status = add_piece(l, text, p->size, false, p->count, (double)p->count * chars_in);
    }
    if (!status) qsort(l->piece + singles, (size_t)(l->pieces - singles), sizeof *l->piece, by_score);
    if (l->pieces > most && most >= singles) l->pieces = most;
    double sum = 0.0;
    for (int64_t i = 0; i < l->pieces; i++) sum += l->piece[i].score;
    for (int64_t i = 0; i < l->pieces; i++) l->piece[i].score = log(l->piece[i].score) - log(sum);
    hone_free(sorted);
    return status;
}

static hone_status count_parts(const learner *l, hone_words *chars, hone_words *parts)
{
    static const char every[] = "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~";
    for (const char *c = every; *c; c++)
        if (hone_words_add(chars, c, 1, hone_words_hash(c, 1), 1)) return HONE_FAILED;
    for (int64_t w = 0; w < l->words; w++) {
        const word *it = &l->word[w];
        size_t ends[WORD_BYTES + 1];
        int n = 0;
        for (size_t at = 0; at < it->size; n++) {
            int length;
            hone_utf8_next(it->text + at, it->size - at, &length);
            if (hone_words_add(chars, it->text + at, (size_t)length, hone_words_hash(it->text + at, (size_t)length), it->count)) return HONE_FAILED;
            ends[n] = at += (size_t)length;
        }
        for (int a = 0; a < n && w < SEED_WORDS; a++) {
            size_t from = a ? ends[a - 1] : 0;
            for (int b = a + 1; b < n && b < a + MOST_CHARS; b++)
                if (hone_words_add(parts, it->text + from, ends[b] - from, hone_words_hash(it->text + from, ends[b] - from), it->count)) return HONE_FAILED;
        }
    }
    return HONE_OK;
}

// --- the lattice of one word

static hone_status make_trie(learner *l)
{
    double lowest = 0.0;
    hone_trie_release(&l->trie);
    for (int64_t i = 0; i < l->pieces; i++) {
        if (hone_trie_add(&l->trie, l->piece[i].text, l->piece[i].size, (int32_t)i)) return HONE_FAILED;
        if (l->piece[i].score < lowest) lowest = l->piece[i].score;
    }
    l->unknown = lowest - unknown_cost;
    return HONE_OK;
}

static double log_add(double a, double b)
{
    double high = a > b ? a : b, low = a > b ? b : a;
    return low < high - 40.0 ? high : high + log1p(exp(low - high));
}

// Calls each edge (start, end, id; id -1 an unknown character) in the order of starts.
typedef void (*edge_fn)(const learner *l, lattice *at, void *context, int32_t start, int32_t end, int32_t id, double score);
static void each_edge(const learner *l, lattice *at, const char *text, int32_t size, edge_fn edge, void *context)
{
    for (int32_t start = 0, length; start < size; start += length) {
        hone_utf8_next(text + start, (size_t)(size - start), &length);
        bool alone = false;
        int32_t node = 0;
        for (int32_t end = start; end < size && (node = hone_trie_step(&l->trie, node, (uint8_t)text[end])) >= 0;) {
            int32_t id = l->trie.id[node];
            end++;
            if (id < 0) continue;
            edge(l, at, context, start, end, id, l->piece[id].score);
            alone |= end == start + length;
        }
        if (!alone) edge(l, at, context, start, start + length, -1, l->unknown);
    }
}

static void forward_edge(const learner *l, lattice *at, void *context, int32_t start, int32_t end, int32_t id, double score)
{
    (void)l; (void)context; (void)id;
    double sum = at->forward[start] + score;
    at->forward[end] = at->forward[end] == -INFINITY ? sum : log_add(at->forward[end], sum);
}

typedef struct { int32_t start, end, id; double score; } edge_row;
typedef struct { edge_row *row; int64_t count, capacity; hone_status status; } edges;
static void keep_edge(const learner *l, lattice *at, void *context, int32_t start, int32_t end, int32_t id, double score)
{
    edges *list = context;
    forward_edge(l, at, NULL, start, end, id, score);
    if (list->status || (list->status = hone_grow(&list->row, list->count, &list->capacity, sizeof *list->row))) return;
    list->row[list->count++] = (edge_row){ start, end, id, score };
}

static void best_edge(const learner *l, lattice *at, void *context, int32_t start, int32_t end, int32_t id, double score)
{
    const int32_t *whole = context; // an edge of this end that begins at 0 does not count; -1 none
    (void)l;
    if (start == 0 && end == *whole) return;
    if (at->start[end] >= 0 && at->forward[start] + score <= at->forward[end]) return;
    at->forward[end] = at->forward[start] + score;
    at->start[end] = start;
    at->id[end] = id;
}

// The best cut: at->start and at->id lead back from the end. False: there is none.
static bool best_cut(const learner *l, lattice *at, const char *text, int32_t size, int32_t whole)
{
    for (int32_t i = 1; i <= size; i++) at->start[i] = -1;
    at->forward[0] = 0.0;
    each_edge(l, at, text, size, best_edge, &whole);
    return at->start[size] >= 0;
}

static hone_status lattice_init(lattice *at)
{
    at->forward = hone_alloc(WORD_BYTES + 1, sizeof *at->forward);
    at->backward = hone_alloc(WORD_BYTES + 1, sizeof *at->backward);
    at->start = hone_alloc(WORD_BYTES + 1, sizeof *at->start);
    at->id = hone_alloc(WORD_BYTES + 1, sizeof *at->id);
    return at->forward && at->backward && at->start && at->id ? HONE_OK : HONE_FAILED;
}

static void lattice_release(lattice *at)
{
    hone_free(at->forward);
    hone_free(at->backward);
    hone_free(at->start);
    hone_free(at->id);
}

// --- over all words, on all threads: sums[id] of whole numbers

static hone_status expect_word(const learner *l, lattice *at, edges *list, const word *w, int64_t *sum)
{
    int32_t size = (int32_t)w->size;
    for (int32_t i = 0; i <= size; i++) at->forward[i] = at->backward[i] = -INFINITY;
    at->forward[0] = at->backward[size] = 0.0;
    list->count = 0;
    each_edge(l, at, w->text, size, keep_edge, list);
    for (int64_t e = list->count - 1; e >= 0 && !list->status; e--) { // edges by start: backwards every end is done before its start
        const edge_row *r = &list->row[e];
        double behind = at->backward[r->end] + r->score;
        at->backward[r->start] = at->backward[r->start] == -INFINITY ? behind : log_add(at->backward[r->start], behind);
    }
    for (int64_t e = 0; e < list->count && !list->status; e++) {
        const edge_row *r = &list->row[e];
        double share = exp(at->forward[r->start] + r->score + at->backward[r->end] - at->forward[size]);
        if (r->id >= 0) sum[r->id] += llrint(share * one) * w->count;
    }
    return list->status;
}

static void choose_word(const learner *l, lattice *at, const word *w, int64_t *sum)
{
    best_cut(l, at, w->text, (int32_t)w->size, -1);
    for (int32_t e = (int32_t)w->size; e > 0; e = at->start[e])
        if (at->id[e] >= 0) sum[at->id[e]] += w->count;
}

static hone_status sum_words(const learner *l, bool best, int64_t *sum)
{
    hone_status status = HONE_OK;
    memset(sum, 0, (size_t)l->pieces * sizeof *sum);
    #pragma omp parallel num_threads(l->threads)
    {
        lattice at = { 0 };
        edges list = { 0 };
        int64_t *mine = hone_alloc((size_t)l->pieces, sizeof *mine);
        hone_status local = lattice_init(&at) || !mine ? HONE_FAILED : HONE_OK;
        #pragma omp for schedule(dynamic, 256)
        for (int64_t w = 0; w < l->words; w++) {
            if (local) continue;
            if (best) choose_word(l, &at, &l->word[w], mine);
            else local = expect_word(l, &at, &list, &l->word[w], mine);
        }
        #pragma omp critical
        {
            for (int64_t i = 0; mine && i < l->pieces; i++) sum[i] += mine[i];
            if (local) status = local;
        }
        hone_free(mine);
        hone_free(list.row);
        lattice_release(&at);
    }
    return status ? hone_fail("out of memory while the Unigram model is learned") : HONE_OK;
}

// --- EM and pruning

static hone_status improve(learner *l, int64_t *sum)
{
    hone_status status = make_trie(l);
    if (!status) status = sum_words(l, false, sum);
    if (status) return status;
    double total = 0.0;
    int64_t kept = 0;
    for (int64_t i = 0; i < l->pieces; i++) {
        double expected = (double)sum[i] / one;
        if (expected < 0.5 && !l->piece[i].single) continue;
        if (expected < 0.5) expected = 0.5;
        l->piece[kept] = l->piece[i];
        l->piece[kept++].score = expected;
        total += expected;
    }
    l->pieces = kept;
    for (int64_t i = 0; i < kept; i++) l->piece[i].score = digamma(l->piece[i].score) - digamma(total);
    return HONE_OK;
}

// What the words lose if piece i goes, per token; INFINITY: it must stay, -INFINITY: it is of no use.
static double loss_of(const learner *l, lattice *at, int64_t i, const int64_t *freq, double total)
{
    const piece *p = &l->piece[i];
    if (p->single) return INFINITY;
    if (!best_cut(l, at, p->text, (int32_t)p->size, (int32_t)p->size)) return INFINITY;
    if (at->forward[p->size] > p->score || freq[i] == 0) return -INFINITY;
    double count = (double)freq[i], own = log(count) - log(total), other = 0.0;
    int parts = 0;
    for (int32_t e = (int32_t)p->size; e > 0; e = at->start[e]) parts++;
    for (int32_t e = (int32_t)p->size; e > 0; e = at->start[e])
        other += log((at->id[e] >= 0 ? (double)freq[at->id[e]] : 0.0) + count) - log(total + count * (parts - 1));
    return count / total * (own - other);
}

static hone_status prune(learner *l, int64_t *freq, int64_t goal)
{
    hone_status status = make_trie(l);
    if (!status) status = sum_words(l, true, freq);
    double total = 0.0, *saved = hone_alloc((size_t)l->pieces + 1, sizeof *saved);
    if (!status && !saved) status = HONE_FAILED;
    for (int64_t i = 0; i < l->pieces; i++) total += (double)freq[i];
    #pragma omp parallel num_threads(l->threads)
    {
        lattice at = { 0 };
        hone_status local = status || lattice_init(&at) ? HONE_FAILED : HONE_OK;
        #pragma omp for schedule(dynamic, 256)
        for (int64_t i = 0; i < l->pieces; i++)
            if (!local) saved[i] = loss_of(l, &at, i, freq, total);
        #pragma omp critical
        if (local && !status) status = hone_fail("out of memory while the Unigram model is learned");
        if (!local) lattice_release(&at);
    }
    if (!status) { // sort by loss, with the scores kept beside
        for (int64_t i = 0; i < l->pieces; i++) { double score = l->piece[i].score; l->piece[i].score = saved[i]; saved[i] = score; l->piece[i].count = i; }
        qsort(l->piece, (size_t)l->pieces, sizeof *l->piece, by_score);
        int64_t most = (int64_t)(keep * (double)l->pieces);
        if (most < goal) most = goal;
        int64_t kept = 0;
        while (kept < l->pieces && (kept < most || l->piece[kept].score == INFINITY) && l->piece[kept].score > -INFINITY) kept++;
        for (int64_t i = 0; i < kept; i++) l->piece[i].score = saved[l->piece[i].count];
        l->pieces = kept;
    }
    hone_free(saved);
    return status;
}

static hone_status learn(learner *l, int64_t goal, void (*progress)(void *context, int64_t pieces), void *context)
{
    int64_t *sum = hone_alloc((size_t)l->pieces + 1, sizeof *sum), roomy = goal + goal / 10;
    hone_status status = sum ? HONE_OK : HONE_FAILED;
    for (int64_t before = -1; !status;) {
        for (int i = 0; i < 2 && !status; i++) status = improve(l, sum);
        if (progress) progress(context, l->pieces);
        if (status || l->pieces <= roomy || l->pieces == before) break;
        before = l->pieces;
        status = prune(l, sum, roomy);
    }
    hone_free(sum);
    return status;
}

// --- in and out

static hone_status take_words(learner *l, const hone_words *words)
{
    l->word = hone_alloc((size_t)words->count + 1, sizeof *l->word);
    if (!l->word) return HONE_FAILED;
    for (int64_t i = 0; i < words->count; i++)
        if (words->word[i].size <= WORD_BYTES) l->word[l->words++] = (word){ words->bytes.data + words->word[i].offset, words->word[i].size, words->word[i].count };
    qsort(l->word, (size_t)l->words, sizeof *l->word, by_count);
    return HONE_OK;
}

static hone_status hand_over(learner *l, int64_t goal, hone_unigram *out)
{
    hone_status status = HONE_OK;
    int64_t singles = 0, others = 0;
    qsort(l->piece, (size_t)l->pieces, sizeof *l->piece, by_score);
    for (int64_t i = 0; i < l->pieces; i++) singles += l->piece[i].single;
    if (singles > goal) return hone_fail("a vocabulary with room for %" PRId64 " pieces is too small: the text has %" PRId64 " characters that need one", goal, singles);
    for (int64_t i = 0; i < l->pieces && !status; i++) {
        const piece *p = &l->piece[i];
        if (!p->single && others == goal - singles) continue;
        others += !p->single;
        if ((status = hone_grow(&out->piece, out->count, &out->capacity, sizeof *out->piece))) break;
        out->piece[out->count++] = (hone_unigram_piece){ out->bytes.size, p->size, p->score };
        status = hone_buffer_append(&out->bytes, p->text, p->size);
    }
    return status;
}

hone_status hone_unigram_learn(const hone_words *words, int64_t pieces, hone_unigram *out, void (*progress)(void *context, int64_t pieces), void *context)
{
    learner l = { 0 };
    hone_words chars = { 0 }, parts = { 0 };
    int64_t seeds = pieces * SEEDS_PER_PIECE > LEAST_SEEDS ? pieces * SEEDS_PER_PIECE : LEAST_SEEDS;
    *out = (hone_unigram){ 0 };
    hone_status status = hone_cpu_threads(&l.threads);
    if (!status) status = take_words(&l, words);
    if (!status) status = count_parts(&l, &chars, &parts);
    if (!status) status = take_seeds(&l, &chars, &parts, pieces, seeds);
    if (!status && l.pieces == 0) status = hone_fail("the text holds nothing to learn from");
    if (!status) status = learn(&l, pieces, progress, context);
    if (!status) status = hand_over(&l, pieces, out);
    if (status) hone_unigram_release(out);
    hone_words_release(&chars);
    hone_words_release(&parts);
    hone_trie_release(&l.trie);
    hone_free(l.word);
    hone_free(l.piece);
    return status;
}

void hone_unigram_release(hone_unigram *unigram)
{
    hone_free(unigram->piece);
    hone_buffer_release(&unigram->bytes);
    *unigram = (hone_unigram){ 0 };
}
