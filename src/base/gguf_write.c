// gguf_write.c: writing of GGUF files. See gguf.h.
#include "base/gguf.h"
#include <string.h>

enum { ALIGNMENT = 32, VERSION = 3 };

static void append(hone_gguf_head *head, hone_buffer *buffer, const void *data, size_t size)
{
    if (size && !head->failed && hone_buffer_append(buffer, data, size)) head->failed = true;
}

static void append_text(hone_gguf_head *head, hone_buffer *buffer, const char *text, size_t size)
{
    uint64_t bytes = size;
    append(head, buffer, &bytes, 8);
    append(head, buffer, text, size);
}

static void put(hone_gguf_head *head, const char *name, uint32_t type, const void *data, size_t size)
{
    append_text(head, &head->values, name, strlen(name));
    append(head, &head->values, &type, 4);
    append(head, &head->values, data, size);
    head->n_value++;
}

void hone_gguf_put_u32(hone_gguf_head *head, const char *name, uint32_t value) { put(head, name, HONE_GGUF_U32, &value, 4); }
void hone_gguf_put_f32(hone_gguf_head *head, const char *name, float value) { put(head, name, HONE_GGUF_F32, &value, 4); }
void hone_gguf_put_bool(hone_gguf_head *head, const char *name, bool value) { put(head, name, HONE_GGUF_BOOL, &(uint8_t){ value }, 1); }

void hone_gguf_put_text(hone_gguf_head *head, const char *name, const char *text, size_t size)
{
    put(head, name, HONE_GGUF_TEXT, NULL, 0);
    append_text(head, &head->values, text, size);
}

void hone_gguf_put_array(hone_gguf_head *head, const char *name, hone_gguf_type type, uint64_t count)
{
    uint32_t of = type;
    put(head, name, HONE_GGUF_ARRAY, &of, 4);
    append(head, &head->values, &count, 8);
}

void hone_gguf_add_text(hone_gguf_head *head, const char *text, size_t size) { append_text(head, &head->values, text, size); }
void hone_gguf_add_word(hone_gguf_head *head, const void *four_bytes) { append(head, &head->values, four_bytes, 4); }

void hone_gguf_put_tensor(hone_gguf_head *head, const char *name, hone_blocks blocks, int rank, const int64_t *dim)
{
    uint32_t n_dim = (uint32_t)rank, type = (uint32_t)hone_blocks_about(blocks)->gguf;
    int64_t count = 1;
    append_text(head, &head->tensors, name, strlen(name));
    append(head, &head->tensors, &n_dim, 4);
    for (int d = 0; d < rank; d++) {
        uint64_t size = (uint64_t)dim[d];
        append(head, &head->tensors, &size, 8);
        count *= dim[d];
    }
    append(head, &head->tensors, &type, 4);
    append(head, &head->tensors, &head->data_bytes, 8);
    head->n_tensor++;
    head->data_bytes += (hone_blocks_bytes(blocks, count) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

hone_status hone_gguf_head_write(hone_gguf_head *head, hone_writer *writer)
{
    const uint32_t version = VERSION;
    if (head->failed) return HONE_FAILED;
    hone_status status = hone_writer_write(writer, "GGUF", 4);
    if (!status) status = hone_writer_write(writer, &version, 4);
    if (!status) status = hone_writer_write(writer, &head->n_tensor, 8);
    if (!status) status = hone_writer_write(writer, &head->n_value, 8);
    if (!status) status = hone_writer_write(writer, head->values.data, head->values.size);
    if (!status) status = hone_writer_write(writer, head->tensors.data, head->tensors.size);
    return status ? status : hone_gguf_pad(writer);
}

hone_status hone_gguf_pad(hone_writer *writer)
{
    static const char zero[ALIGNMENT];
    size_t beyond = (size_t)(writer->written_bytes % ALIGNMENT);
    return beyond ? hone_writer_write(writer, zero, ALIGNMENT - beyond) : HONE_OK;
}

void hone_gguf_head_release(hone_gguf_head *head)
{
    hone_buffer_release(&head->values);
    hone_buffer_release(&head->tensors);
    *head = (hone_gguf_head){ 0 };
}
