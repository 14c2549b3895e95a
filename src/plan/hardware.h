// hardware.h: other machines, by their data sheets (hardware.def), and what a recipe would take there at best.
//
//     seconds(node) = max( FLOPs / (peak x share), bytes / (bandwidth x share) )               the roofline (Williams et al. 2009)
//     seconds(move) = bytes / (host x share), beside the nodes (graph/offload.h)
//     step          = micro-batches x sum(micro) + all-reduce(gradients) + sum(update)
//     all-reduce    = 2 (n - 1) / n x bytes / link                                             a ring; nothing overlapped
//
// An estimate, and it is printed as one: hone has no kernels for accelerators yet, and a processor should be measured.
#pragma once
#include "plan/cost.h"

typedef struct hone_hardware {
    const char *name, *title;
    double f32_flops, bf16_flops, int8_flops, fp8_flops;    // dense products, FLOP/s; 0: none in fp8
    double bandwidth, memory, link, host;   // bytes/s; bytes, 0: as much as is put in; bytes/s to its neighbours, to the host's memory, 0: unknown
    double watts;                       // of the whole chip, TDP
    int capability;                     // NVIDIA's compute capability times ten, else 0
    int cores;                          // of a CPU, else 0
    const char *cpu;                    // part of its name as the system tells it, else NULL
} hone_hardware;
extern const hone_hardware hone_hardware_table[];
extern const int hone_hardware_count;
extern const double HONE_SHARE_OF_FLOPS, HONE_SHARE_OF_BANDWIDTH;  // what the roofline takes to be reached

// "h200", "8xh100": the row and the number. An unknown name is a usage error that offers the nearest.
hone_status hone_hardware_find(const char *text, const hone_hardware **row, int64_t *chips);
// Before the job is opened: a recipe in fp8 is planned by backend cuda's rules where it names none (backend/cuda/planned.c), and refused
// for a machine without fp8, or without the blocks that it asks for.
hone_status hone_hardware_plans(hone_recipe *recipe, const char *on);
void hone_hardware_pace(const hone_job *job, const hone_plan *plan, const hone_hardware *row, int64_t chips, hone_pace *pace);
// Watts of this machine's cores in use, where they are not metered: the chip's by its row, else by the core; says how in `how`.
double hone_hardware_watts_here(const char *cpu, int threads, char *how, size_t size);
