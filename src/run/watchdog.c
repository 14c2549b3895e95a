// watchdog.c: see watchdog.h. One mutex guards all; the thread sleeps on a condition until a step begins, then until that
// step would be too long. The median is that of the last steps; nothing is judged before some of them are known.
#include "run/watchdog.h"
#include "base/cpu.h"
#include "base/memory.h"
#include "base/thread.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { KEPT = 64, NEEDED = 5, STACK_BYTES = 128 << 10 };
static const double IDLE_SHARE = 0.2;      // of the time on a core: below it the process hardly ran
enum { MANY_PAGES = 256 };                 // read back from disk: memory is short

struct hone_watchdog {
    hone_watchdog_options options;
    pthread_t thread; bool has_thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    double kept_s[KEPT]; int64_t count;    // seconds of the last steps, a ring
    bool within, told, quit, ended_slow;
    int64_t step, part, parts;
    double began_s, doing_s, limit_s, median_s, cpu_s;
    long pages;
    const char *doing;
    hone_slow_step slow;
};

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_of(const hone_watchdog *w)
{
    double sorted[KEPT];
    size_t n = w->count < KEPT ? (size_t)w->count : KEPT;
    memcpy(sorted, w->kept_s, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, by_value);
    return sorted[n / 2];
}

static double cpu_seconds(long *pages)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    *pages = used.ru_majflt;
    return (double)used.ru_utime.tv_sec + (double)used.ru_stime.tv_sec + 1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

// Tells of the step under way, `now` seconds on the clock.
static void tell(hone_watchdog *w, double now)
{
    long pages;
    char text[512], part[48] = "";
    const char *why = "";
    hone_slow_step *s = &w->slow;
    w->told = true;
    *s = (hone_slow_step){ .step = w->step, .seconds = now - w->began_s, .median_s = w->median_s, .cpu_s = cpu_seconds(&pages) - w->cpu_s };
    s->pages_read = pages - w->pages;
    if (w->parts > 0) snprintf(part, sizeof part, " %lld of %lld", (long long)w->part, (long long)w->parts);
    snprintf(s->doing, sizeof s->doing, "%s%s", w->doing, part);
    if (s->pages_read > MANY_PAGES) why = ": memory is short, or data is read from a slow disk";
    else if (s->cpu_s < IDLE_SHARE * s->seconds) why = ": it was stopped, or waits for the disk";
    snprintf(text, sizeof text, "step %lld takes %.3g s so far, the median is %.3g s: %s, for %.3g s; the process had %.3g s of CPU meanwhile and read"
             " %lld pages from disk%s", (long long)s->step, s->seconds, s->median_s, s->doing, now - w->doing_s, s->cpu_s, (long long)s->pages_read, why);
    w->options.say(w->options.context, text);
}

static void wait_until(hone_watchdog *w, double clock_s)
{
    struct timespec until = { (time_t)clock_s, (long)(fmod(clock_s, 1) * 1e9) };
    pthread_cond_timedwait(&w->changed, &w->lock, &until);
}

static void *thread_main(void *watchdog)
{
    hone_watchdog *w = watchdog;
    pthread_mutex_lock(&w->lock);
    while (!w->quit) {
        if (!w->within || w->told || w->limit_s <= 0) {
            pthread_cond_wait(&w->changed, &w->lock);   // until a step begins
            continue;
        }
        double now = hone_clock_s();
        if (now - w->began_s > w->limit_s) tell(w, now);
        else wait_until(w, w->began_s + w->limit_s);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

hone_status hone_watchdog_open(hone_watchdog **watchdog, const hone_watchdog_options *options)
{
    hone_watchdog *w = *watchdog = hone_alloc(1, sizeof *w);
    if (!w) return HONE_FAILED;
    pthread_condattr_t monotonic;
    w->options = *options;
    w->doing = "";
    pthread_mutex_init(&w->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&w->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    hone_status status = hone_thread_start(&w->thread, STACK_BYTES, thread_main, w, "watches over slow steps");
    w->has_thread = !status;
    if (!status) return HONE_OK;
    hone_watchdog_close(w);
    *watchdog = NULL;
    return status;
}

void hone_watchdog_close(hone_watchdog *w)
{
    if (!w) return;
    if (w->has_thread) {
        pthread_mutex_lock(&w->lock);
        w->quit = true;
        pthread_cond_broadcast(&w->changed);
        pthread_mutex_unlock(&w->lock);
        pthread_join(w->thread, NULL);
    }
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    hone_free(w);
}

void hone_watchdog_begin(hone_watchdog *w, int64_t step)
{
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    w->step = step;
    w->began_s = w->doing_s = hone_clock_s();
    w->cpu_s = cpu_seconds(&w->pages);
    w->within = true;
    w->told = false;
    w->parts = 0;
    w->median_s = w->count >= NEEDED ? median_of(w) : 0;
    w->limit_s = w->count >= NEEDED && w->options.factor > 0 ? fmax(w->options.factor * w->median_s, w->options.least_s) : 0;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

void hone_watchdog_doing(hone_watchdog *w, const char *doing, int64_t part, int64_t parts)
{
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    w->doing = doing;
    w->doing_s = hone_clock_s();
    w->part = part;
    w->parts = parts;
    pthread_mutex_unlock(&w->lock);
}

void hone_watchdog_end(hone_watchdog *w)
{
    if (!w) return;
    pthread_mutex_lock(&w->lock);
    double now = hone_clock_s(), seconds = now - w->began_s;
    if (w->limit_s > 0 && seconds > w->limit_s && !w->told) tell(w, now);   // the whole process was stopped
    w->within = false;
    w->ended_slow |= w->told;
    if (w->told) w->slow.seconds = seconds;
    w->kept_s[w->count++ % KEPT] = seconds;
    pthread_mutex_unlock(&w->lock);
}

bool hone_watchdog_take(hone_watchdog *w, hone_slow_step *slow)
{
    if (!w) return false;
    pthread_mutex_lock(&w->lock);
    bool has = w->ended_slow;
    w->ended_slow = false;
    if (has) *slow = w->slow;
    pthread_mutex_unlock(&w->lock);
    return has;
}
