// stop.c: see stop.h.
#include "run/stop.h"
#include <signal.h>
#include <stddef.h>

enum { WATCHED = 3 };
static volatile sig_atomic_t noted, save_asked;
static struct sigaction before[WATCHED];
static int watching;
static const int watched[WATCHED] = { SIGINT, SIGTERM, SIGUSR1 };

static void note(int signal)
{
    if (signal == SIGUSR1) save_asked = 1;
    else noted = signal;
}

void hone_stop_watch(hone_stop_signals signals)
{
    // SA_RESETHAND: the second signal finds the default action. SA_RESTART: reads and writes under way go on.
    noted = save_asked = 0;
    watching = (int)signals;
    for (int i = 0; i < watching && i < WATCHED; i++) {
        struct sigaction action = { .sa_handler = note, .sa_flags = (int)((watched[i] == SIGUSR1 ? 0 : SA_RESETHAND) | SA_RESTART) };
        sigemptyset(&action.sa_mask);
        sigaction(watched[i], &action, &before[i]);
    }
}

void hone_stop_unwatch(void)
{
    for (int i = 0; i < watching && i < WATCHED; i++) sigaction(watched[i], &before[i], NULL);
    watching = 0;
}

bool hone_stop_asked(void *unused)
{
    (void)unused;
    return noted != 0;
}

bool hone_stop_take_save(void)
{
    bool asked = save_asked != 0;
    save_asked = 0;
    return asked;
}

hone_status hone_stop_status(void) { return (hone_status)(128 + noted); }
