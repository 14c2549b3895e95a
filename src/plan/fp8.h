// fp8.h: which products of a planned job run in fp8, and which do not, by name: what graph/fp8.c decided, told.
#pragma once
#include "plan/job.h"

typedef struct hone_fp8_share { int64_t made, products; } hone_fp8_share;  // of micro's, recomputation left out
// With `others`: "head (needs more digits); attn.o dw, attn.kv dw (too few FLOPs a byte)".
hone_status hone_fp8_count(const hone_job *job, hone_fp8_share *share, hone_buffer *others);
