// packing.c: see packing.h.
#include "data/packing.h"
#include "base/memory.h"

#include <inttypes.h>

static int64_t documents_of_piece(const hone_dataset *data) { return data->pairs ? 2 : 1; }

// Calls `put` for every piece, in the order of the data. Returns how many documents (pairs of them) are cut into several.
typedef void put_piece(void *context, int64_t start, int64_t pairs);
static int64_t each_piece(const hone_dataset *data, int64_t T, put_piece *put, void *context)
{
    const int64_t step = documents_of_piece(data);
    int64_t cut = 0;
    for (int64_t s = 0; s < data->n_shards; s++) {
        int64_t begin = 0;
        for (int64_t d = 0; d + step <= data->shard[s].n_documents; d += step) {
            const int64_t end = (int64_t)data->shard[s].ends[d + step - 1], last = end - step;  // places of tokens that foretell one
            for (int64_t at = begin; at < last; at += T) put(context, data->first[s] + at, last - at < T ? last - at : T);
            cut += last - begin > T;
            begin = end;
        }
    }
    return cut;
}

// --- from the longest to the shortest ------------------------------------------------------------------------------------

typedef struct sorted {
    int64_t *at;                // (T + 1,) by pairs: how many there are, then where the next of them goes
    int64_t *start; int32_t *pairs;
    int64_t count, sum, cut;
} sorted;

static void count_piece(void *context, int64_t start, int64_t pairs)
{
    sorted *s = context;
    (void)start;
    s->at[pairs]++;
    s->count++;
    s->sum += pairs;
}

static void place_piece(void *context, int64_t start, int64_t pairs)
{
    sorted *s = context;
    const int64_t i = s->at[pairs]++;
    s->start[i] = start;
    s->pairs[i] = (int32_t)pairs;
}

static void release_sorted(sorted *s)
{
    hone_free(s->at);
    hone_free(s->start);
    hone_free(s->pairs);
}

static hone_status sort_pieces(sorted *s, const hone_dataset *data, int64_t T)
{
    *s = (sorted){ .at = hone_alloc((size_t)T + 1, sizeof *s->at) };
    if (!s->at) return HONE_FAILED;
    s->cut = each_piece(data, T, count_piece, s);
    if (data->pairs && s->cut)
        return hone_fail("%s: %" PRId64 " pairs of replies are longer than a row of %" PRId64 " tokens; raise cutoff_len, or prepare them again", data->path, s->cut, T);
    if (s->count == 0)
        return hone_fail("%s: no document of its split \"%s\" has two tokens, so there is nothing to foretell", data->path, hone_split_name[data->split]);
    if (s->count > INT32_MAX) return hone_fail("%s: %" PRId64 " documents are too many to pack whole; use packing_strategy: wrapped", data->path, s->count);
    s->start = hone_alloc((size_t)s->count, sizeof *s->start);
    s->pairs = hone_alloc((size_t)s->count, sizeof *s->pairs);
    if (!s->start || !s->pairs) return HONE_FAILED;
    for (int64_t pairs = T, before = 0; pairs >= 0; pairs--) {
        const int64_t these = s->at[pairs];
        s->at[pairs] = before;
        before += these;
    }
    each_piece(data, T, place_piece, s);
    return HONE_OK;
}

// --- rows by the room that is left in them ---------------------------------------------------------------------------------

typedef struct rooms {
    int32_t *head, *next;       // (T + 1,) first row with so much room, -1 none; (pieces,) row -> another with as much
    uint64_t *some;             // a bit for each room: is there a row?
    int64_t T, n_rows;
} rooms;

static void release_rooms(rooms *r)
{
    hone_free(r->head);
    hone_free(r->next);
    hone_free(r->some);
}

static hone_status open_rooms(rooms *r, int64_t T, int64_t pieces)
{
    *r = (rooms){ .T = T, .head = hone_alloc((size_t)T + 1, sizeof *r->head), .next = hone_alloc((size_t)pieces, sizeof *r->next),
                  .some = hone_alloc((size_t)T / 64 + 1, sizeof *r->some) };
    if (!r->head || !r->next || !r->some) return HONE_FAILED;
    for (int64_t room = 0; room <= T; room++) r->head[room] = -1;
    return HONE_OK;
}

// The least room of `pairs` or more that a row has, -1 none.
static int64_t least_room(const rooms *r, int64_t pairs)
{
    int64_t word = pairs / 64;
    uint64_t bits = r->some[word] & ~UINT64_C(0) << pairs % 64;
    while (!bits && ++word <= r->T / 64) bits = r->some[word];
    return bits ? word * 64 + __builtin_ctzll(bits) : -1;
}

static int32_t take_row(rooms *r, int64_t room)
{
    const int32_t row = r->head[room];
    r->head[room] = r->next[row];
    if (r->head[room] < 0) r->some[room / 64] &= ~(UINT64_C(1) << room % 64);
    return row;
}

// The row that a piece goes to.
static int32_t fit(rooms *r, int64_t pairs)
{
    const int64_t room = least_room(r, pairs), left = (room < 0 ? r->T : room) - pairs;
    const int32_t row = room < 0 ? (int32_t)r->n_rows++ : take_row(r, room);
    r->next[row] = r->head[left];
    r->head[left] = row;
    r->some[left / 64] |= UINT64_C(1) << left % 64;
    return row;
}

// --- rows ----------------------------------------------------------------------------------------------------------------

// Pieces in the order of their rows; row: of each sorted piece.
static hone_status gather(hone_packing *p, const sorted *s, const int32_t *row)
{
    p->first = hone_alloc((size_t)p->n_rows + 2, sizeof *p->first);
    p->start = hone_alloc((size_t)p->n_pieces, sizeof *p->start);
    p->pairs = hone_alloc((size_t)p->n_pieces, sizeof *p->pairs);
    if (!p->first || !p->start || !p->pairs) return HONE_FAILED;
    int64_t *next = p->first + 1;   // where the next piece of each row goes: behind the last one, the next row's first
    for (int64_t i = 0; i < p->n_pieces; i++) next[row[i] + 1]++;
    for (int64_t r = 0; r < p->n_rows; r++) next[r + 1] += next[r];
    for (int64_t i = 0; i < p->n_pieces; i++) {
        const int64_t to = next[row[i]]++;
        p->start[to] = s->start[i];
        p->pairs[to] = s->pairs[i];
    }
    return HONE_OK;
}

hone_status hone_packing_make(hone_packing *p, const hone_dataset *data, int64_t T)
{
    sorted s = { 0 };
    rooms r = { 0 };
    int32_t *row = NULL;
    *p = (hone_packing){ 0 };
    HONE_ASSERT(!data->raw, "%s has no index of documents", data->path);
    hone_status status = sort_pieces(&s, data, T);
    if (!status) status = open_rooms(&r, T, s.count);
    if (!status && !(row = hone_alloc((size_t)s.count, sizeof *row))) status = HONE_FAILED;
    for (int64_t i = 0; i < s.count && !status; i++) row[i] = fit(&r, s.pairs[i]);
    p->n_rows = r.n_rows, p->n_pieces = s.count, p->n_pairs = s.sum;
    if (!status) status = gather(p, &s, row);
    p->cut = s.cut;
    release_sorted(&s);
    release_rooms(&r);
    hone_free(row);
    if (status) hone_packing_release(p);
    return status;
}

void hone_packing_release(hone_packing *p)
{
    hone_free(p->first);
    hone_free(p->start);
    hone_free(p->pairs);
    *p = (hone_packing){ 0 };
}
