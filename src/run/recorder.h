// recorder.h: keeps the run store up with a run's log, from a thread of its own.
//
//     training   append a row to log.jsonl                       a write of a few hundred bytes; knows nothing of the rest
//     recorder   once a second: did the log grow?  -> import     at low priority
//
// So no step ever waits for the database, and a database that is locked, damaged or on a full disk costs one warning:
// the log goes on, and the next import (this thread's, or `hone runs import`) takes what is missing.
#pragma once
#include "base/error.h"

typedef struct hone_recorder hone_recorder;

// Never fails a run: where it cannot begin, *recorder is NULL and a warning is printed.
// store_path: "" = in the folder that run_folder lies in.
void hone_recorder_open(hone_recorder **recorder, const char *store_path, const char *run_folder);
// The warning that has not been shown yet, once; NULL: none. Borrowed until close.
const char *hone_recorder_take_warning(hone_recorder *recorder);
void hone_recorder_close(hone_recorder *recorder);        // after a last import; NULL is fine
