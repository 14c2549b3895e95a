// recorder.c: see recorder.h.
#include "run/recorder.h"
#include "base/memory.h"
#include "base/thread.h"
#include "run/store.h"
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { STACK_BYTES = 512 << 10, NICE = 10 };

struct hone_recorder {
    char *store_path, *run_folder, *log_path;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool quit;                       // under the lock, as is
    char *warning; bool shown;       // the first that went wrong
    hone_store *store;               // the thread's
    off_t seen_bytes;                // likewise
};

static off_t log_bytes(const hone_recorder *r)
{
    struct stat about;
    return stat(r->log_path, &about) == 0 ? about.st_size : 0;
}

static void warn_once(hone_recorder *r)
{
    pthread_mutex_lock(&r->lock);
    if (!r->warning) r->warning = hone_format("the run store is not kept up (log.jsonl is): %s", hone_error());
    pthread_mutex_unlock(&r->lock);
}

// What fails is tried again at the next growth of the log: a lock is let go, a disk is emptied.
static void follow(hone_recorder *r)
{
    off_t now = log_bytes(r);
    if (now == r->seen_bytes) return;
    hone_status status = r->store ? HONE_OK : hone_store_open(&r->store, r->store_path, true);
    if (!status) status = hone_store_import(r->store, r->run_folder, NULL);
    if (!status) {
        r->seen_bytes = now;
        return;
    }
    warn_once(r);
    hone_store_close(r->store);
    r->store = NULL;
}

static void *thread_main(void *context)
{
    hone_recorder *r = context;
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE); // Linux: of this thread alone
    follow(r); // at once, so that what the store takes of memory is taken early
    for (bool quit = false; !quit;) {
        pthread_mutex_lock(&r->lock);
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec++;
        int waited = 0;
        while (!r->quit && waited == 0) waited = pthread_cond_timedwait(&r->changed, &r->lock, &until);
        quit = r->quit;
        pthread_mutex_unlock(&r->lock);
        follow(r);
    }
    hone_store_close(r->store);
    return NULL;
}

static hone_status start(hone_recorder *r)
{
    return hone_thread_start(&r->thread, STACK_BYTES, thread_main, r, "keeps the run store");
}

static void release(hone_recorder *r)
{
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    hone_free(r->store_path);
    hone_free(r->run_folder);
    hone_free(r->log_path);
    hone_free(r->warning);
    hone_free(r);
}

void hone_recorder_open(hone_recorder **recorder, const char *store_path, const char *run_folder)
{
    *recorder = NULL;
    hone_recorder *r = hone_alloc(1, sizeof *r);
    if (!r) { hone_warn("the run store is not kept: %s", hone_error()); return; }
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC); // a clock that is set does not stop the thread
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    hone_status status = (r->run_folder = hone_strdup(run_folder)) && (r->log_path = hone_format("%s/log.jsonl", run_folder)) ? HONE_OK : HONE_FAILED;
    if (!status && *store_path) status = (r->store_path = hone_strdup(store_path)) ? HONE_OK : HONE_FAILED;
    else if (!status) status = hone_store_path_for(run_folder, &r->store_path);
    if (!status) status = start(r);
    if (!status) { *recorder = r; return; }
    hone_warn("the run store is not kept: %s", hone_error());
    release(r);
}

const char *hone_recorder_take_warning(hone_recorder *r)
{
    if (!r) return NULL;
    pthread_mutex_lock(&r->lock);
    const char *text = r->shown ? NULL : r->warning;
    if (text) r->shown = true;
    pthread_mutex_unlock(&r->lock);
    return text;
}

void hone_recorder_close(hone_recorder *r)
{
    if (!r) return;
    pthread_mutex_lock(&r->lock);
    r->quit = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    const char *text = hone_recorder_take_warning(r);
    if (text) hone_warn("%s", text);
    release(r);
}
