// session.c: resolves every operand to a pointer once, then walks the list.
#include "graph/session.h"
#include "base/cpu.h"
#include "base/memory.h"
#include "graph/capture.h"
#include "graph/mirror.h"
#include "graph/moves.h"
#include <inttypes.h>
#include <string.h>

static int find_program(const hone_session *session, const char *name)
{
    for (int i = 0; i < session->graph->n_program; i++)
        if (!strcmp(session->graph->program[i].name, name)) return i;
    hone_assert_failed(__FILE__, __LINE__, "program exists", "no program %s in this graph", name);
}

// A node that the backend declines is named here, at plan time, never in a run.
static hone_status check_supported(const hone_session *session, const hone_program *program)
{
    for (int64_t n = 0; n < program->count; n++) {
        hone_args args;
        const char *why = "";
        if (hone_is_move(&program->node[n])) continue;
        hone_args_describe(session->graph, &program->node[n], &args);
        if (session->backend->supports(session->self, &args, &why)) continue;
        char text[256];
        hone_node_print(session->graph, &program->node[n], text, sizeof text);
        return hone_fail("backend %s cannot run node %" PRId64 " of %s, %s: %s", session->backend->name, n, program->name, text, why);
    }
    return HONE_OK;
}

hone_status hone_session_replan(hone_session *session)
{
    hone_layout_release(&session->layout);
    for (int i = 0; i < session->graph->n_program; i++)
        if (check_supported(session, &session->graph->program[i])) return HONE_FAILED;
    return hone_layout_plan(session->graph, session->backend, session->self, &session->options, &session->layout);
}

hone_status hone_session_plan(hone_session *session, hone_graph *graph, const hone_session_options *options)
{
    static const hone_session_options defaults;
    if (!options) options = &defaults;
    hone_backend_options hardware = options->hardware;
    *session = (hone_session){ .graph = graph, .options = options->layout, .poison = options->poison, .offload = options->offload };
    if (graph->failed) return hone_fail("out of memory while the graph was built");
    if (hardware.threads <= 0 && hone_cpu_threads(&hardware.threads)) return HONE_FAILED;
    if (hone_backend_find(options->backend ? options->backend : "cpu", &session->backend)) return HONE_FAILED;
    if (session->backend->open(&hardware, &session->self)) return HONE_FAILED;
    if (hone_session_replan(session)) {
        hone_session_close(session);
        return HONE_FAILED;
    }
    return HONE_OK;
}

static void *place(const hone_session *session, hone_tid id)
{
    size_t offset = session->layout.offset[id];
    return offset == HONE_NOWHERE ? NULL : session->arena + offset;
}

static void resolve(const hone_session *session, const hone_tid *ids, int n, hone_operand *operand)
{
    for (int i = 0; i < n; i++) {
        if (ids[i] == HONE_NONE) continue;
        hone_tid live = hone_at(session->graph, ids[i])->live;
        operand[i].data = place(session, ids[i]);
        operand[i].live = live == HONE_NONE ? NULL : hone_session_data(session, live); // the host's: it knows the count when it launches
        HONE_ASSERT(operand[i].data || hone_at(session->graph, ids[i])->parked, "%s has no place", hone_at(session->graph, ids[i])->name);
    }
}

static hone_status resolve_program(hone_session *session, int which)
{
    const hone_program *program = &session->graph->program[which];
    session->args[which] = hone_alloc((size_t)program->count + 1, sizeof(hone_args));
    session->handle[which] = hone_alloc((size_t)program->count + 1, sizeof(void *));
    if (!session->args[which] || !session->handle[which]) return HONE_FAILED;
    for (int64_t n = 0; n < program->count; n++) {
        const hone_node *node = &program->node[n];
        hone_args *args = &session->args[which][n];
        hone_args_describe(session->graph, node, args);
        resolve(session, node->in, node->n_in, args->in);
        resolve(session, node->out, node->n_out, args->out);
        args->workspace_bytes = session->layout.workspace_bytes[which][n];
        if (args->workspace_bytes) args->workspace = session->arena + session->layout.workspace_offset[which][n];
        if (hone_is_move(node)) continue;
        if (session->backend->prepare && session->backend->prepare(session->self, args, &session->handle[which][n])) return HONE_FAILED;
    }
    return HONE_OK;
}

hone_status hone_session_allocate(hone_session *session)
{
    void *arena;
    if (session->backend->alloc(session->self, HONE_SPACE_DEVICE, session->layout.arena_bytes, &arena)) return HONE_FAILED;
    session->arena = arena;
    if (hone_mirror_open(session) || hone_moves_open(session)) return HONE_FAILED;
    for (int i = 0; i < session->graph->n_program; i++)
        if (resolve_program(session, i)) return HONE_FAILED;
    return hone_capture_open(session);
}

hone_status hone_session_open(hone_session *session, hone_graph *graph, const hone_session_options *options)
{
    if (hone_session_plan(session, graph, options)) return HONE_FAILED;
    if (hone_session_allocate(session)) {
        hone_session_close(session);
        return HONE_FAILED;
    }
    return HONE_OK;
}

void hone_session_release_arena(hone_session *session)
{
    for (int i = 0; i < HONE_PROGRAMS; i++) {
        hone_free(session->args[i]);
        hone_free(session->handle[i]);
        session->args[i] = NULL;
        session->handle[i] = NULL;
    }
    hone_capture_close(session);
    hone_moves_close(session);
    hone_mirror_close(session);
    if (session->arena) session->backend->release(session->self, HONE_SPACE_DEVICE, session->arena, session->layout.arena_bytes);
    session->arena = NULL;
    session->caches_valid = false;
}

void hone_session_close(hone_session *session)
{
    hone_session_release_arena(session);
    if (session->self) session->backend->close(session->self);
    hone_layout_release(&session->layout);
    *session = (hone_session){ 0 };
}

void *hone_session_data(const hone_session *session, hone_tid tensor)
{
    void *data = place(session, tensor);
    if (data && session->mirror) return hone_mirror_data(session, tensor);
    HONE_ASSERT(data || hone_at(session->graph, tensor)->parked, "%s has no place in this session", hone_at(session->graph, tensor)->name);
    return data;
}

void *hone_session_borrow(hone_session *session, hone_tid tensor)
{
    return hone_at(session->graph, tensor)->parked ? hone_moves_borrow(session, tensor) : hone_session_data(session, tensor);
}

// --- nodes ---------------------------------------------------------------------------------------------------------------

hone_status hone_session_settle(hone_session *session)
{
    hone_moves_join(session);
    hone_mirror_pull(session);
    return hone_moves_check(session);
}

void hone_session_run_node(hone_session *session, int which, int64_t n)
{
    const hone_node *node = &session->graph->program[which].node[n];
    hone_mirror_push(session);
    if (n == 0) hone_moves_join(session);   // what failed is told at the end
    hone_moves_wait(session, node);
    if (hone_is_move(node)) hone_moves_begin(session, node);
    else session->backend->run(session->self, &session->args[which][n], session->handle[which][n], node->stream);
}

static bool is_parked(const hone_session *session, hone_tid id, size_t first, size_t size)
{
    const hone_tensor *t = hone_at(session->graph, id);
    HONE_ASSERT(first + size <= session->layout.bytes[id], "bytes %zu to %zu of %s", first, first + size, t->name);
    return t->parked;
}

hone_status hone_session_read(const hone_session *session, hone_tid id, size_t first, size_t size, void *data)
{
    if (is_parked(session, id, first, size)) return hone_moves_carry(session, id, first, size, data, false);
    if (session->mirror) hone_mirror_carry(session, id, first, size, data, false);
    else memcpy(data, (const uint8_t *)place(session, id) + first, size);
    return HONE_OK;
}

hone_status hone_session_write(hone_session *session, hone_tid id, size_t first, size_t size, const void *data)
{
    if (is_parked(session, id, first, size)) return hone_moves_carry(session, id, first, size, (void *)(uintptr_t)data, true);
    if (session->mirror) hone_mirror_carry(session, id, first, size, (void *)(uintptr_t)data, true);
    else memcpy((uint8_t *)place(session, id) + first, data, size);
    return HONE_OK;
}

hone_status hone_session_clear(hone_session *session, hone_tid id)
{
    static const uint8_t zeros[1 << 16];
    const size_t bytes = session->layout.bytes[id];
    const bool parked = hone_at(session->graph, id)->parked;
    hone_status status = HONE_OK;
    if (!parked && session->mirror) hone_mirror_clear(session, id);
    else if (!parked) memset(place(session, id), 0, bytes);
    else for (size_t at = 0; at < bytes && !status; at += sizeof zeros)
        status = hone_session_write(session, id, at, bytes - at < sizeof zeros ? bytes - at : sizeof zeros, zeros);
    return status;
}

// --- running -------------------------------------------------------------------------------------------------------------

// Poisoned runs: bytes that no tensor may rely on are NaN (0xff in f32, f64, bf16) before its first write and after its
// last read, so that reading too early or too late shows in the result.
static void poison_after(const hone_session *session, int which, int64_t n)
{
    const hone_program *program = &session->graph->program[which];
    const hone_node *node = &program->node[n];
    for (int i = 0; i < node->n_in + node->n_out; i++) {
        hone_tid id = hone_node_operand(node, i);
        if (id == HONE_NONE) continue;
        id = hone_storage(session->graph, id);
        size_t offset = session->layout.offset[id], bytes = session->layout.bytes[id];
        if (offset == HONE_NOWHERE || offset < session->layout.transient_base[which]) continue;
        bool used_later = false; // by itself or by a tensor that works in its place
        for (int64_t later = n + 1; later < program->count && !used_later; later++) {
            const hone_node *other = &program->node[later];
            for (int k = 0; k < other->n_in + other->n_out; k++) {
                hone_tid t = hone_node_operand(other, k);
                used_later |= t != HONE_NONE && hone_storage(session->graph, t) == id;
            }
        }
        for (int k = 0; k < node->n_out; k++) // its place went over to an output
            used_later |= node->out[k] != HONE_NONE && node->out[k] != id && session->layout.offset[node->out[k]] == offset;
        if (!used_later) memset(session->arena + offset, 0xff, bytes);
    }
    if (session->args[which][n].workspace) memset(session->args[which][n].workspace, 0xff, session->args[which][n].workspace_bytes);
}

static void run_poisoned(hone_session *session, int which)
{
    size_t base = session->layout.transient_base[which];
    HONE_ASSERT(!session->mirror, "backend %s has memory of its own, which nobody poisons", session->backend->name);
    memset(session->arena + base, 0xff, session->layout.arena_bytes - base);
    for (int64_t n = 0; n < session->graph->program[which].count; n++) {
        hone_session_run_node(session, which, n);
        poison_after(session, which, n);
    }
}

// Programs without caches write over them; "refresh" makes them anew. Whoever forgets that is told here.
static void check_caches(hone_session *session, int which)
{
    const char *name = session->graph->program[which].name;
    bool touches = session->layout.transient_base[which] > session->layout.persistent_bytes;
    if (touches && !strcmp(name, "refresh")) session->caches_valid = true;
    HONE_ASSERT(!touches || session->caches_valid, "program %s needs a run of refresh before it: another program wrote over the caches", name);
    if (!touches) session->caches_valid = false;
}

hone_status hone_session_run(hone_session *session, const char *name)
{
    int which = find_program(session, name);
    check_caches(session, which);
    if (session->poison) run_poisoned(session, which);
    else if (hone_capture_run(session, which, 0, session->graph->program[which].count)) return HONE_FAILED;
    if (session->backend->synchronize) session->backend->synchronize(session->self);
    return hone_session_settle(session);
}

hone_status hone_session_run_part(hone_session *session, const char *name, int64_t from, int64_t to)
{
    const int which = find_program(session, name);
    const int64_t count = session->graph->program[which].count;
    if (to < 0) to = count;
    HONE_ASSERT(0 <= from && from <= to && to <= count, "nodes %" PRId64 " to %" PRId64 " of %s", from, to, name);
    if (hone_capture_run(session, which, from, to)) return HONE_FAILED;
    if (session->backend->synchronize) session->backend->synchronize(session->self);
    session->caches_valid = false;   // as behind any run that is not of "refresh" or "decode"
    return hone_session_settle(session);
}

void hone_session_profile(hone_session *session, const char *name, hone_profile *profile)
{
    int which = find_program(session, name);
    const hone_program *program = &session->graph->program[which];
    check_caches(session, which);
    for (int64_t n = 0; n < program->count; n++) {
        double start = hone_clock_s();
        hone_session_run_node(session, which, n);
        if (session->backend->synchronize) session->backend->synchronize(session->self);
        profile->seconds[program->node[n].op] += hone_clock_s() - start;
        profile->runs[program->node[n].op]++;
    }
    hone_mirror_pull(session);
}
