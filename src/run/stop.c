// stop.c: see stop.h.
#include "run/stop.h"
#include <signal.h>
#include <stddef.h>

static volatile sig_atomic_t noted;
static struct sigaction before[2];
static const int watched[2] = { SIGINT, SIGTERM };

static void note(int signal) { noted = signal; }

void hone_stop_watch(void)
{
    // SA_RESETHAND: the second signal finds the default action. SA_RESTART: reads and writes under way go on.
    struct sigaction action = { .sa_handler = note, .sa_flags = (int)(SA_RESETHAND | SA_RESTART) };
    sigemptyset(&action.sa_mask);
    noted = 0;
    for (int i = 0; i < 2; i++) sigaction(watched[i], &action, &before[i]);
}

void hone_stop_unwatch(void)
{
    for (int i = 0; i < 2; i++) sigaction(watched[i], &before[i], NULL);
}

bool hone_stop_asked(void *unused)
{
    (void)unused;
    return noted != 0;
}

hone_status hone_stop_status(void) { return (hone_status)(128 + noted); }
