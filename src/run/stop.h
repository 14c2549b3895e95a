// stop.h: signals as questions that loops ask. Ctrl-C and SIGTERM ask the run to stop in order; a second one ends the
// process at once, as if nobody had asked. SIGUSR1 asks for a checkpoint.
#pragma once
#include "base/error.h"
#include <stdbool.h>

typedef enum { HONE_STOP_INT = 1, HONE_STOP_TERM, HONE_STOP_SAVE } hone_stop_signals; // SIGINT; and SIGTERM; and SIGUSR1

void hone_stop_watch(hone_stop_signals signals);   // from here on these are noted; others do what the system has for them
void hone_stop_unwatch(void);              // back to what was before
bool hone_stop_asked(void *unused);        // fits the stop callbacks of train/
bool hone_stop_take_save(void);            // true once for each time that a checkpoint was asked for
// The exit code of a run that was stopped and saved: 128 + the signal, as shells have it.
hone_status hone_stop_status(void);
