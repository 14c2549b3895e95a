// budget.c: simulates a choice, and searches for the cheapest (see budget.h).
#include "graph/budget.h"
#include "base/memory.h"
#include "base/rng.h"
#include "graph/layout.h"
#include "graph/offload.h"
#include <string.h>

// A node as the simulation sees it: storages of transients only, -1 where there is none.
typedef struct { int n_in, n_out; hone_tid in[HONE_MAX_IN], out[HONE_MAX_OUT]; int64_t workspace_bytes; } step;

struct hone_budget {
    hone_recompute *r;
    const double *cost;              // (count,)
    step *step;                      // (count,)
    int64_t *bytes, *raw;            // (n_tensor,) aligned; as they are
    int64_t *last;                   // (2 * n_tensor,) last item that touches a tensor; the second half are clones
    bool *born;                      // (2 * n_tensor,)
    int64_t *delta;                  // (2 * count + 2,) change of the bytes alive before an item
    int64_t *candidate; int64_t n_candidate;  // nodes to choose among
    double *gain;                    // (n_candidate,) as of its last look
    bool *fresh;                     // (n_candidate,) looked at since the last change
    bool *best, *here;               // (count,) the cheapest choice so far, or that of the lowest peak; where an exchange began
    int64_t left;                    // simulations that may still be made
    // of the last simulation
    int64_t peak; double excess, sum;         // most alive; bytes above the limit x nodes; cost of all clones
};

double hone_node_work(const hone_graph *graph, const hone_node *node)
{
    static const double FLOPS_A_BYTE = 12;
    if (hone_is_move(node)) return hone_move_work(graph, node);
    int64_t bytes = 0;
    for (int i = 0; i < node->n_in + node->n_out; i++)
        if (hone_node_operand(node, i) != HONE_NONE) bytes += hone_tensor_bytes(hone_at(graph, hone_node_operand(node, i)));
    double work = hone_node_flops(graph, node) + FLOPS_A_BYTE * (double)bytes;
    if (node->op != HONE_OP_attention && node->op != HONE_OP_attention8) return work;
    const hone_attr *a = &node->attr;
    double keys = (double)hone_at(graph, node->in[1])->dim[0], rows = (double)hone_at(graph, node->in[0])->dim[0];
    if (a->group_rows > 0 && a->group_rows < keys) keys = a->group_rows;
    if (a->window > 0 && 2 * a->window < keys) keys = 2 * a->window;
    return work + 4 * rows * (keys / 2) * a->heads * a->head_dim;
}

// --- simulation --------------------------------------------------------------------------------------------------------

static int64_t place(const hone_budget *b, const hone_recompute_item *item, hone_tid id, bool output)
{
    bool clone = output ? item->again : hone_recompute_reads_clone(b->r, item, id);
    return clone ? id + b->r->n_tensor : id;
}

// Does the forward's tensor go home once the forward is done with it?
static bool is_parked_behind(const hone_budget *b, hone_tid id)
{
    const int64_t n = b->r->producer[id];
    return n >= 0 && b->r->park[n] && b->last[id + b->r->n_tensor] >= 0;
}

// May output 0 lie where input k lies? As layout has it: that dies here, is as large, and is read through no other operand.
static bool works_in_place(const hone_budget *b, const step *s, const hone_recompute_item *item, int64_t i)
{
    const hone_graph *graph = b->r->graph;
    int flags = hone_op_get(b->r->program->node[item->node].op)->flags, k = flags & 0xff;
    if (!(flags & 1 << 8) || s->in[k] < 0 || s->out[0] < 0) return false;
    hone_tid from = s->in[k];
    const int64_t at = place(b, item, from, false);
    if (hone_at(graph, from)->dtype != hone_at(graph, s->out[0])->dtype || b->raw[from] != b->raw[s->out[0]]) return false;
    if (b->last[at] != i || (at == from && is_parked_behind(b, from))) return false;
    for (int other = 0; other < s->n_in; other++)
        if (other != k && s->in[other] == from) return false;
    return true;
}

static void simulate(hone_budget *b, size_t most)
{
    hone_recompute *r = b->r;
    const int64_t n_tensor = r->n_tensor;
    hone_recompute_order(r);
    for (int64_t i = 0; i < 2 * n_tensor; i++) b->last[i] = -1;
    memset(b->born, 0, (size_t)(2 * n_tensor) * sizeof *b->born);
    memset(b->delta, 0, (size_t)(r->n_item + 2) * sizeof *b->delta);
    b->sum = 0;
    for (int64_t i = 0; i < r->n_item; i++) {
        const hone_recompute_item *item = &r->item[i];
        const step *s = &b->step[item->node];
        if (hone_recompute_is_fetch(r, item)) continue;
        if (item->again) b->sum += b->cost[item->node];
        for (int k = 0; k < s->n_in; k++) if (s->in[k] >= 0) b->last[place(b, item, s->in[k], false)] = i;
        for (int k = 0; k < s->n_out; k++) if (s->out[k] >= 0) b->last[place(b, item, s->out[k], true)] = i;
    }
    for (int64_t i = 0; i < r->n_item; i++) {
        const hone_recompute_item *item = &r->item[i];
        const step *s = &b->step[item->node];
        const bool fetch = hone_recompute_is_fetch(r, item);
        for (int k = 0; k < s->n_out; k++) {
            if (s->out[k] < 0) continue;
            int64_t id = place(b, item, s->out[k], true);
            if (b->born[id] || b->last[id] < 0) continue;   // (nobody reads that of what is fetched)
            b->born[id] = true;
            b->delta[i + (k == 0 && !fetch && works_in_place(b, s, item, i))] += b->bytes[s->out[k]];
            b->delta[b->last[id] + 1] -= b->bytes[s->out[k]];
        }
        if (fetch) continue;
        b->delta[i] += s->workspace_bytes;
        b->delta[i + 1] -= s->workspace_bytes;
    }
    b->peak = 0;
    b->excess = 0;
    int64_t alive = 0;
    for (int64_t i = 0; i < r->n_item; i++) {
        alive += b->delta[i];
        if (alive > b->peak) b->peak = alive;
        if (alive > (int64_t)most) b->excess += (double)(alive - (int64_t)most);
    }
    b->left--;
}

size_t hone_budget_peak(hone_budget *b) { simulate(b, 0); return (size_t)b->peak; }
double hone_budget_cost(hone_budget *b) { simulate(b, 0); return b->sum; }

// --- opening -----------------------------------------------------------------------------------------------------------

static hone_tid transient_storage(const hone_graph *graph, hone_tid id)
{
    return id == HONE_NONE || !hone_is_transient(hone_at(graph, id)) ? -1 : hone_storage(graph, id);
}

static void describe_nodes(hone_budget *b, const hone_backend *backend, void *self)
{
    const hone_graph *graph = b->r->graph;
    for (hone_tid id = 0; id < b->r->n_tensor; id++) {
        const int64_t n = b->r->producer[id];
        hone_tensor like = *hone_at(graph, id);
        b->raw[id] = (int64_t)hone_layout_tensor_bytes(&like, backend, self);
        if (n >= 0 && b->r->park[n]) like.cls = HONE_CLASS_stage;
        b->bytes[id] = (int64_t)hone_layout_place_bytes(&like, (size_t)b->raw[id]);
    }
    for (int64_t n = 0; n < b->r->program->count; n++) {
        const hone_node *node = &b->r->program->node[n];
        step *s = &b->step[n];
        *s = (step){ .n_in = node->n_in, .n_out = node->n_out };
        for (int k = 0; k < node->n_in; k++) s->in[k] = transient_storage(graph, node->in[k]);
        for (int k = 0; k < node->n_out; k++) s->out[k] = transient_storage(graph, node->out[k]);
        hone_args args;
        hone_args_describe(graph, node, &args);
        if (backend->workspace_bytes && !hone_is_move(node)) s->workspace_bytes = (int64_t)hone_layout_align(backend->workspace_bytes(self, &args));
        if (b->r->stored[n] && !b->r->drop[n] && !b->r->park[n]) b->candidate[b->n_candidate++] = n;
    }
}

hone_status hone_budget_open(hone_budget **budget, hone_recompute *r, const hone_backend *backend, void *self, const double *cost)
{
    const size_t count = (size_t)r->program->count + 1, n_tensor = (size_t)r->n_tensor + 1;
    hone_budget *b = *budget = hone_alloc(1, sizeof *b);
    if (!b) return HONE_FAILED;
    *b = (hone_budget){ .r = r, .cost = cost };
    b->step = hone_alloc(count, sizeof *b->step);
    b->bytes = hone_alloc(n_tensor, sizeof *b->bytes);
    b->raw = hone_alloc(n_tensor, sizeof *b->raw);
    b->last = hone_alloc(2 * n_tensor, sizeof *b->last);
    b->born = hone_alloc(2 * n_tensor, sizeof *b->born);
    b->delta = hone_alloc(2 * count + 2, sizeof *b->delta);
    b->candidate = hone_alloc(count, sizeof *b->candidate);
    b->gain = hone_alloc(count, sizeof *b->gain);
    b->fresh = hone_alloc(count, sizeof *b->fresh);
    b->best = hone_alloc(count, sizeof *b->best);
    b->here = hone_alloc(count, sizeof *b->here);
    if (!b->step || !b->bytes || !b->raw || !b->last || !b->born || !b->delta || !b->candidate || !b->gain || !b->fresh || !b->best || !b->here) {
        hone_budget_close(b);
        *budget = NULL;
        return HONE_FAILED;
    }
    describe_nodes(b, backend, self);
    return HONE_OK;
}

void hone_budget_close(hone_budget *b)
{
    if (!b) return;
    hone_free(b->step);
    hone_free(b->bytes);
    hone_free(b->raw);
    hone_free(b->last);
    hone_free(b->born);
    hone_free(b->delta);
    hone_free(b->candidate);
    hone_free(b->gain);
    hone_free(b->fresh);
    hone_free(b->best);
    hone_free(b->here);
    hone_free(b);
}

// --- search ------------------------------------------------------------------------------------------------------------

// Where the last bytes are, a drop may free none by itself: its price must be finite.
static const double LEAST_COST = 1e-12;

static void look_at(hone_budget *b, int64_t c, size_t most, double excess, double sum)
{
    b->r->drop[b->candidate[c]] = true;
    simulate(b, most);
    b->r->drop[b->candidate[c]] = false;
    b->gain[c] = (excess - b->excess) / (b->sum - sum > LEAST_COST ? b->sum - sum : LEAST_COST);
    b->fresh[c] = true;
}

// The candidate of the largest gain, -1 if none has any. A gain seldom grows when others are dropped: only the one in front
// is looked at anew (Minoux 1978), all of them when none seems left.
static int64_t find_gain(hone_budget *b, size_t most, int64_t except, double excess, double sum)
{
    for (bool all = false;; ) {
        int64_t front = -1;
        for (int64_t c = 0; c < b->n_candidate; c++)
            if (c != except && !b->r->drop[b->candidate[c]] && (front < 0 || b->gain[c] > b->gain[front])) front = c;
        if (front < 0 || b->left <= 0) return -1;
        if (b->gain[front] > 0) {
            if (b->fresh[front]) return front;
            look_at(b, front, most, excess, sum);
        } else if (all) {
            return -1;
        } else {
            for (int64_t c = 0; c < b->n_candidate; c++)
                if (c != except && !b->r->drop[b->candidate[c]]) look_at(b, c, most, excess, sum);
            all = true;
        }
    }
}

// Drops until nothing exceeds the limit. False where nothing helps any more.
static bool repair(hone_budget *b, size_t most, int64_t except)
{
    for (int64_t c = 0; c < b->n_candidate; c++) b->gain[c] = 0;
    for (;;) {
        simulate(b, most);
        if (b->excess <= 0) return true;
        memset(b->fresh, 0, (size_t)b->n_candidate * sizeof *b->fresh);
        int64_t c = find_gain(b, most, except, b->excess, b->sum);
        if (c < 0) {
            simulate(b, most); // the last look was at a set with one drop more
            return false;
        }
        b->r->drop[b->candidate[c]] = true;
    }
}

static double price(const hone_budget *b, int64_t n)   // of a byte that it frees
{
    const hone_node *node = &b->r->program->node[n];
    double bytes = 1;
    for (int i = 0; i < node->n_out; i++) if (b->step[n].out[i] >= 0) bytes += (double)b->bytes[b->step[n].out[i]];
    return b->cost[n] / bytes;
}

// Takes back drops that the limit does not need, the dearest per byte first. Candidates lie in that order.
static void take_back(hone_budget *b, size_t most, int64_t except)
{
    for (int64_t c = 0; c < b->n_candidate && b->left > 0; c++) {
        if (c == except || !b->r->drop[b->candidate[c]]) continue;
        b->r->drop[b->candidate[c]] = false;
        simulate(b, most);
        if (b->excess > 0) b->r->drop[b->candidate[c]] = true;
    }
    simulate(b, most);
}

static void copy_drop(const hone_budget *b, bool *to, const bool *from)
{
    memcpy(to, from, (size_t)b->r->program->count * sizeof *to);
}

// One more drop may save several, one less may be had for others that are cheaper together.
static void exchange(hone_budget *b, size_t most)
{
    for (bool better = true; better && b->left > 0;) {
        better = false;
        for (int64_t c = 0; c < b->n_candidate && b->left > 0; c++) {
            simulate(b, most);
            double sum = b->sum;
            copy_drop(b, b->here, b->r->drop);
            bool *drop = &b->r->drop[b->candidate[c]];
            *drop = !*drop;
            bool fits = *drop || repair(b, most, c);
            if (fits) take_back(b, most, c);
            if (fits && b->excess <= 0 && b->sum < sum * (1 - 1e-9)) better = true;
            else copy_drop(b, b->r->drop, b->here);
        }
    }
    simulate(b, most);
}

static void sort_candidates(hone_budget *b)
{
    for (int64_t i = 1; i < b->n_candidate; i++) {
        int64_t n = b->candidate[i], k = i;
        for (; k > 0 && price(b, b->candidate[k - 1]) < price(b, n); k--) b->candidate[k] = b->candidate[k - 1];
        b->candidate[k] = n;
    }
}

// Start `k`: all is dropped but the output of every k-th block; 0: nothing is.
static void set_start(hone_budget *b, int64_t k)
{
    const hone_program *p = b->r->program;
    for (int64_t c = 0; c < b->n_candidate; c++) {
        const hone_node *node = &p->node[b->candidate[c]];
        bool keep = k == 0 || (node->layer >= 0 && (node->layer + 1) % k == 0 && !hone_drop_blocks(b->r->graph, p, node));
        b->r->drop[b->candidate[c]] = !keep;
    }
}

// Makes what is dropped fit, then cheaper. Where it beats the best choice so far, or has a lower peak as long as none has
// fit, it becomes that.
static void descend(hone_budget *b, size_t most, bool *fits, double *least)
{
    bool fit = repair(b, most, -1);
    if (fit) {
        take_back(b, most, -1);
        exchange(b, most);
    }
    if ((*fits && !fit) || (*fits == fit && (fit ? b->sum : (double)b->peak) >= *least)) return;
    *fits = fit;
    *least = fit ? b->sum : (double)b->peak;
    copy_drop(b, b->best, b->r->drop);
}

// Another start: the best choice so far with a few candidates the other way.
static void disturb(hone_budget *b, uint64_t turn)
{
    copy_drop(b, b->r->drop, b->best);
    uint32_t bits[4];
    hone_rng_block(0, HONE_RNG_SEARCH, 0, turn, bits);
    for (int i = 0; i < 2 + (int)(turn % 3) && b->n_candidate > 0; i++) {
        bool *drop = &b->r->drop[b->candidate[bits[i] % (uint64_t)b->n_candidate]];
        *drop = !*drop;
    }
}

static const int64_t start[] = { 0, 1, 2, 3, 4, 6, 8, 12, 16, INT32_MAX };
enum { STARTS = sizeof start / sizeof *start, TURNS = 40 };
static int64_t share_of(const hone_budget *b) { return 30000000 / (b->r->program->count + 1) / (STARTS + 5); } // of a second; a third is for disturbed ones

// The best choice that all starts come to: one that fits, or the one of the lowest peak. Returns whether it fits.
static bool search(hone_budget *b, size_t most)
{
    bool fits = false;
    double least = 0x1p62;
    set_start(b, 0);
    simulate(b, most);
    const double nothing = b->sum;
    for (int i = 0; i < STARTS; i++) {
        b->left = share_of(b);
        set_start(b, start[i]);
        descend(b, most, &fits, &least);
        if (fits && least <= nothing) break;   // no drop was needed
    }
    b->left = 5 * share_of(b);
    for (uint64_t turn = 0; turn < TURNS && (!fits || least > nothing) && b->left > 0; turn++) {
        disturb(b, turn);
        descend(b, most, &fits, &least);
    }
    return fits;
}

// Where no start came to a choice that fits, the one of the lowest peak may: what fits for a smaller budget is never missed.
bool hone_budget_choose(hone_budget *b, size_t most)
{
    sort_candidates(b);
    bool fits = search(b, most);
    if (!fits && most > 0) {
        double least = 0x1p62;
        search(b, 0);
        copy_drop(b, b->r->drop, b->best);
        b->left = share_of(b);
        descend(b, most, &fits, &least);
    }
    copy_drop(b, b->r->drop, b->best);
    return fits;
}
