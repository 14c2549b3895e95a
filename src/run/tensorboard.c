// tensorboard.c: see tensorboard.h.
#include "run/tensorboard.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/memory.h"
#include "run/protobuf.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

uint32_t hone_crc32c(const void *data, size_t size)
{
    const uint8_t *byte = data;
    uint32_t crc = ~0u;
    while (size--) { // a few hundred bytes a row: a table would not pay
        crc ^= *byte++;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

// Checksums of data that hold checksums would be weak: TFRecord turns and shifts them.
static uint32_t masked(const void *data, size_t size)
{
    uint32_t crc = hone_crc32c(data, size);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static hone_status begin_event(hone_buffer *out, int64_t step)
{
    double wall = hone_wall_s();
    hone_status status = hone_proto_put_fixed(out, 1, &wall, sizeof wall);
    return status || step <= 0 ? status : hone_proto_put_varint(out, 2, (uint64_t)step);
}

// --- records ----------------------------------------------------------------------------------------------------------

static hone_status append_record(const hone_tensorboard *board, const hone_buffer *event)
{
    hone_buffer record = { 0 };
    uint64_t length = event->size;
    uint32_t of_length = masked(&length, sizeof length), of_data = masked(event->data, event->size);
    hone_status status = hone_buffer_append(&record, &length, sizeof length);
    if (!status) status = hone_buffer_append(&record, &of_length, sizeof of_length);
    if (!status) status = hone_buffer_append(&record, event->data, event->size);
    if (!status) status = hone_buffer_append(&record, &of_data, sizeof of_data);
    if (!status) status = hone_file_append(board->path, record.data, record.size);
    hone_buffer_release(&record);
    return status;
}

hone_status hone_tensorboard_open(hone_tensorboard *board, const char *run_folder)
{
    static const char version[] = "brain.Event:2";
    char host[128] = "localhost", *folder = hone_path_join(run_folder, "tensorboard");
    gethostname(host, sizeof host - 1);
    *board = (hone_tensorboard){ 0 };
    hone_status status = folder ? hone_dir_create(folder) : HONE_FAILED;
    if (!status) board->path = hone_format("%s/events.out.tfevents.%010lld.%s.%lld.0", folder, (long long)time(NULL), host, (long long)getpid());
    hone_free(folder);
    hone_buffer event = { 0 };
    if (!status) status = board->path ? begin_event(&event, 0) : HONE_FAILED;
    if (!status) status = hone_proto_put_bytes(&event, 3, version, sizeof version - 1);
    if (!status) status = append_record(board, &event);
    hone_buffer_release(&event);
    return status;
}

void hone_tensorboard_close(hone_tensorboard *board)
{
    hone_free(board->path);
    *board = (hone_tensorboard){ 0 };
}

static hone_status put_scalar(hone_buffer *summary, const char *group, const char *name, float value)
{
    hone_buffer item = { 0 };
    char tag[128];
    int n = snprintf(tag, sizeof tag, "%s/%s", group, name);
    hone_status status = hone_proto_put_bytes(&item, 1, tag, (size_t)n < sizeof tag ? (size_t)n : sizeof tag - 1);
    if (!status) status = hone_proto_put_fixed(&item, 2, &value, sizeof value);
    if (!status) status = hone_proto_put_bytes(summary, 1, item.data, item.size);
    hone_buffer_release(&item);
    return status;
}

static hone_status put_scalars(hone_buffer *event, const char *group, const json_t *row)
{
    hone_buffer summary = { 0 };
    hone_status status = HONE_OK;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)row, name, value)
        if (!status && json_is_number(value) && strcmp(name, "step")) status = put_scalar(&summary, group, name, (float)json_number_value(value));
    if (!status) status = hone_proto_put_bytes(event, 5, summary.data, summary.size);
    hone_buffer_release(&summary);
    return status;
}

// The step in ".../step-N", where a resume goes on.
static int64_t resumed_step(const json_t *row)
{
    const char *from = json_string_value(json_object_get(row, "from")), *at = from ? strrchr(from, '-') : NULL;
    return at ? strtoll(at + 1, NULL, 10) : 0;
}

void hone_tensorboard_add(hone_tensorboard *board, const char *event, const json_t *row)
{
    static const uint8_t session_start[] = { 1 << 3, 1 }; // SessionLog { status: START }
    const char *group = !strcmp(event, "step") ? "train" : !strcmp(event, "eval") ? "eval" : NULL;
    bool resume = strcmp(event, "resume") == 0;
    if (!board->path || board->failed || (!group && !resume)) return;
    hone_buffer bytes = { 0 };
    hone_status status = begin_event(&bytes, resume ? resumed_step(row) + 1 : json_integer_value(json_object_get(row, "step")));
    if (!status) status = resume ? hone_proto_put_bytes(&bytes, 7, session_start, sizeof session_start) : put_scalars(&bytes, group, row);
    if (!status) status = append_record(board, &bytes);
    hone_buffer_release(&bytes);
    board->failed = status != HONE_OK;
    if (status) hone_warn("%s; the run goes on without TensorBoard's file", hone_error());
}
