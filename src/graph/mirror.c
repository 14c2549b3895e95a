// mirror.c: see mirror.h.
#include "graph/mirror.h"
#include "base/memory.h"
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

struct hone_mirror {
    uint8_t *host;              // twin of the arena's first host_bytes
    size_t host_bytes, input_bytes;
    bool pushed;                // since the last pull
    bool captures;              // all that the device is asked for is noted down, not done
    pthread_mutex_t lock;       // of what follows, and of copies: none may get among what is captured
    void **shadow;              // (n_tensor,) of storages; NULL: never asked for
    bool *asked;                // (n_tensor,) since the last push
    atomic_bool any;
};

size_t hone_mirror_bytes(const hone_session *s)
{
    return hone_backend_is_apart(s->backend) ? hone_mirror_pinned_bytes(s) + s->layout.class_bytes[HONE_CLASS_param] : 0;
}

size_t hone_mirror_pinned_bytes(const hone_session *s)
{
    return hone_backend_is_apart(s->backend) ? s->layout.class_bytes[HONE_CLASS_input] + s->layout.class_bytes[HONE_CLASS_output] : 0;
}

hone_status hone_mirror_open(hone_session *s)
{
    if (!hone_backend_is_apart(s->backend)) return HONE_OK;
    hone_mirror *m = s->mirror = hone_alloc(1, sizeof *m);
    if (!m) return HONE_FAILED;
    pthread_mutex_init(&m->lock, NULL);
    m->input_bytes = s->layout.class_bytes[HONE_CLASS_input];
    m->host_bytes = m->input_bytes + s->layout.class_bytes[HONE_CLASS_output];
    m->shadow = hone_alloc((size_t)s->graph->n_tensor + 1, sizeof *m->shadow);
    m->asked = hone_alloc((size_t)s->graph->n_tensor + 1, sizeof *m->asked);
    void *host = NULL;
    if (!m->shadow || !m->asked || s->backend->alloc(s->self, HONE_SPACE_HOST, m->host_bytes, &host)) return HONE_FAILED;
    m->host = host;
    return HONE_OK;
}

void hone_mirror_close(hone_session *s)
{
    hone_mirror *m = s->mirror;
    if (!m) return;
    for (hone_tid id = 0; m->shadow && id < s->graph->n_tensor; id++) hone_pages_free(m->shadow[id], s->layout.bytes[id]);
    if (m->host) s->backend->release(s->self, HONE_SPACE_HOST, m->host, m->host_bytes);
    pthread_mutex_destroy(&m->lock);
    hone_free(m->shadow);
    hone_free(m->asked);
    hone_free(m);
    s->mirror = NULL;
}

// Between host and device; waits.
static void copy(const hone_session *s, void *to, const void *from, size_t bytes)
{
    s->backend->copy(s->self, to, from, bytes, 0);
    s->backend->synchronize(s->self);
}

void *hone_mirror_data(const hone_session *s, hone_tid tensor)
{
    hone_mirror *m = s->mirror;
    const hone_tid id = hone_storage(s->graph, tensor);
    const size_t offset = s->layout.offset[id], inside = s->layout.offset[tensor] - offset;
    if (offset < m->host_bytes) return m->host + offset + inside;
    pthread_mutex_lock(&m->lock);
    if (!m->shadow[id]) m->shadow[id] = hone_pages_alloc(s->layout.bytes[id]);
    HONE_ASSERT(m->shadow[id], "no memory for the host's copy of %s: %s", hone_at(s->graph, id)->name, hone_error());
    if (!m->asked[id]) copy(s, m->shadow[id], s->arena + offset, s->layout.bytes[id]); // else what was written there counts
    m->asked[id] = true;
    m->any = true;
    pthread_mutex_unlock(&m->lock);
    return (uint8_t *)m->shadow[id] + inside;
}

void hone_mirror_carry(const hone_session *s, hone_tid tensor, size_t first, size_t size, void *data, bool store)
{
    hone_mirror *m = s->mirror;
    const hone_tid id = hone_storage(s->graph, tensor);
    const size_t at = s->layout.offset[tensor] - s->layout.offset[id] + first;
    uint8_t *device = s->arena + s->layout.offset[id] + at;
    pthread_mutex_lock(&m->lock);
    uint8_t *shadow = m->asked[id] ? (uint8_t *)m->shadow[id] + at : NULL;
    if (store) copy(s, device, data, size);
    if (store && shadow) memcpy(shadow, data, size);
    if (!store && shadow) memcpy(data, shadow, size);
    if (!store && !shadow) copy(s, data, device, size);
    pthread_mutex_unlock(&m->lock);
}

static void push(hone_session *s)
{
    hone_mirror *m = s->mirror;
    if (!m->pushed && m->input_bytes) s->backend->copy(s->self, s->arena, m->host, m->input_bytes, 0);
    for (hone_tid id = 0; m->any && id < s->graph->n_tensor; id++) {
        if (m->asked[id]) s->backend->copy(s->self, s->arena + s->layout.offset[id], m->shadow[id], s->layout.bytes[id], 0);
        m->asked[id] = false;
    }
    if (m->any) s->backend->synchronize(s->self);
    m->any = false;
    m->pushed = true;
}

void hone_mirror_clear(const hone_session *s, hone_tid tensor)
{
    hone_mirror *m = s->mirror;
    const hone_tid id = hone_storage(s->graph, tensor);
    const size_t offset = s->layout.offset[tensor], at = offset - s->layout.offset[id], bytes = s->layout.bytes[tensor];
    pthread_mutex_lock(&m->lock);
    s->backend->clear(s->self, s->arena + offset, bytes, 0);
    if (m->asked[id]) memset((uint8_t *)m->shadow[id] + at, 0, bytes);
    if (offset < m->host_bytes) memset(m->host + offset, 0, bytes);
    pthread_mutex_unlock(&m->lock);
}

void hone_mirror_push(hone_session *s)
{
    hone_mirror *m = s->mirror;
    if (!m || m->captures || (m->pushed && !m->any)) return;
    pthread_mutex_lock(&m->lock);
    push(s);
    pthread_mutex_unlock(&m->lock);
}

void hone_mirror_hold(hone_session *s)
{
    if (!s->mirror) return;
    pthread_mutex_lock(&s->mirror->lock);
    push(s);
    s->mirror->captures = true;
}

void hone_mirror_let_go(hone_session *s)
{
    if (!s->mirror) return;
    s->mirror->captures = false;
    pthread_mutex_unlock(&s->mirror->lock);
}

void hone_mirror_pull(hone_session *s)
{
    hone_mirror *m = s->mirror;
    if (!m) return;
    if (m->pushed && m->host_bytes > m->input_bytes) copy(s, m->host + m->input_bytes, s->arena + m->input_bytes, m->host_bytes - m->input_bytes);
    m->pushed = false;
}
