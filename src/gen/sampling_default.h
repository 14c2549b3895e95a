// sampling_default.h: how a model's makers want its answers drawn: generation_config.json beside its weights.
#pragma once
#include "gen/sample.h"

// do_sample (false where absent: greedy), temperature, top_k, top_p, min_p, repetition_penalty; what the file does not say is off.
// *said: it says something other than greedy without a penalty, which *how is where there is no such file. Numbers out of range are
// errors that name the file.
hone_status hone_sampling_default(const char *folder, hone_sampling *how, bool *said);
