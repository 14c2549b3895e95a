// stop.h: Ctrl-C and SIGTERM as a question that loops ask. The first signal asks the run to stop in order; a second one
// ends the process at once, as if nobody had asked.
#pragma once
#include "base/error.h"
#include <stdbool.h>

void hone_stop_watch(void);                // from here on signals are noted
void hone_stop_unwatch(void);              // back to what was before
bool hone_stop_asked(void *unused);        // fits the stop callbacks of train/
// The exit code of a run that was stopped and saved: 128 + the signal, as shells have it.
hone_status hone_stop_status(void);
