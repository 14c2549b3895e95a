// replay.h: one step of a run done again and looked at node by node.
#pragma once
#include "base/error.h"
#include <stdint.h>
#include <stdio.h>

// Step `step` (from 1) of the run in `folder`: from replay-<step> if it is there, else from the newest whole checkpoint
// before it, with the recipe that the checkpoint holds and the overrides on top. Changes nothing on disk.
hone_status hone_replay(const char *folder, int64_t step, int n_override, char *const *override, FILE *out);
