// tensorboard.h: TensorBoard's event files, for those who have it open anyway (recipe key report_to: tensorboard).
//
//   file     record ...          record   u64 length, masked crc32c of it, bytes, masked crc32c of them     (TFRecord)
//   bytes    Event { 1: wall_time double, 2: step varint, 3: file_version | 5: Summary { 1: Value { 1: tag, 2: simple_value float } } | 7: SessionLog }
//            as protocol buffers write them (tensorflow's event.proto, summary.proto)
//
// Every number of a row of the log becomes a scalar: train/loss, eval/loss ... A resume tells TensorBoard to drop the steps
// that will come again. Appended like the log; a file that cannot be written costs one warning.
#pragma once
#include "base/json.h"

typedef struct hone_tensorboard { char *path; bool failed; } hone_tensorboard;

hone_status hone_tensorboard_open(hone_tensorboard *board, const char *run_folder);   // a new file in run_folder/tensorboard
void hone_tensorboard_close(hone_tensorboard *board);
void hone_tensorboard_add(hone_tensorboard *board, const char *event, const json_t *row);
uint32_t hone_crc32c(const void *data, size_t size);    // Castagnoli's polynomial, as iSCSI and TFRecord have it
