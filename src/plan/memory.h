// memory.h: what a run takes, before it takes it: parameters by group, bytes by class and by layer, the whole process.
//
//     process = this process as it stands once model, data and programs are known (measured, not guessed)
//             + the arena (exact: layout.h)
//             + what the run still allocates on top (counted from the same structures)
//
// On a device with memory of its own the arena lies there, and the process has what the host sees of it (mirror.h) and what is parked
// (moves.h). Of these the twin of inputs and outputs and all that is parked are pinned: locked into the host's memory, a class of their own.
//
// The process keeps to it: tests compare with VmHWM.
#pragma once
#include "plan/fit.h"
#include "plan/fp8.h"

enum { HONE_PARAM_GROUPS = 5 };

typedef struct hone_plan {
    int64_t params, group[HONE_PARAM_GROUPS];      // hone_param_group_name
    int64_t factors;                               // numbers in adapters: all that is trained then; 0 none
    const char *frozen_blocks;                     // what frozen matrices are kept in ("NF4"), NULL: plain numbers
    int64_t class_bytes[HONE_CLASS_COUNT];         // persistent: all, parked ones too; transient: at the peak
    int64_t workspace_bytes;                       // at the peak
    int64_t gap_bytes;                             // arena - all of the above: alignment and places that do not fit
    int64_t *layer_bytes, layers;                  // (layers + 1,) activations and their gradients alive at the peak, by layer; last: none
    int64_t arena_bytes, base_bytes, late_bytes, process_bytes;
    int64_t device_bytes;                          // of the arena, where it is not the process's; else 0
    int64_t pinned_bytes;                          // of the process: locked into the host's memory, in no other class; exact
    const char *peak_program; int64_t peak_node;
    double flops_per_token;
    hone_recompute_price recompute;
    hone_offload_price offload;
    hone_fp8_share fp8;                            // products in fp8, where the recipe says so
    char *bf16_products;                           // those that are not, by name and reason; NULL: the recipe does not say fp8
} hone_plan;
extern const char *const hone_param_group_name[HONE_PARAM_GROUPS];

// What a run allocates on top of the arena.
int64_t hone_plan_late_bytes(const hone_job *job);
hone_status hone_plan_make(const hone_job *job, hone_plan *plan);
void hone_plan_release(hone_plan *plan);
hone_status hone_plan_print(const hone_plan *plan, hone_buffer *out);    // the table
hone_status hone_plan_json(const hone_plan *plan, json_t **out);
bool hone_plan_fits(const hone_plan *plan, const hone_recipe *recipe);
// Refuses what does not fit: the recipe's max_memory, else what the machine has available.
hone_status hone_plan_check(const hone_plan *plan, const hone_recipe *recipe);
