// wandb.h: Weights & Biases' offline runs, for those who sync them later (recipe key report_to: wandb; `wandb sync`).
//
//   run_folder/wandb/offline-run-20260131_120000-ID/run-ID.wandb
//
//   file     ":W&B" 0xbee1 0, then blocks of 32 KiB (the seven bytes count), as LevelDB's log has them
//   block    chunk ... and zeros where less than 7 bytes are left
//   chunk    u32 crc32 (zlib's) of kind and bytes, u16 length, u8 kind (1 whole, 2 first, 3 middle, 4 last), bytes
//   whole    Record { 1: number, 21: Header | 17: Run (id, config, ...) | 2: History { 1: Item { 2: key, 16: value as JSON }, 2: { 1: step } }
//            | 3: Summary | 18: Exit { 1: code, 2: seconds } } as protocol buffers write them
//
// Numbers of fields and the file's frame are those of the PyPI package wandb; tests/run/test_wandb.c has that package read the
// file. As its client does, one History is written a step, when the next one begins: what the rows of the log say of a step is
// merged. The summary and the exit code come with the end; a run that was killed has neither, and can be read and synced.
// A resume begins a new file of the same ID. Appended like the log; a file that cannot be written costs one warning.
#pragma once
#include "base/json.h"

typedef struct hone_wandb {
    char *path, *name;      // of the file; of the run
    char id[9];
    int64_t size, records;  // written
    double began_s;         // since 1970
    int64_t step;           // that `row` is of
    json_t *row, *summary;  // not written yet; the newest value of each key
    int exit_code;
    bool failed;
} hone_wandb;

hone_status hone_wandb_open(hone_wandb *wandb, const char *run_folder, bool resume);
void hone_wandb_close(hone_wandb *wandb);
void hone_wandb_add(hone_wandb *wandb, const char *event, const json_t *row);
