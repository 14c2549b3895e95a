// protobuf.c: see protobuf.h.
#include "run/protobuf.h"

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

static hone_status put_number(hone_buffer *out, uint64_t value)
{
    uint8_t byte[10];
    size_t n = 0;
    do {
        byte[n] = (uint8_t)(value & 127);
        if (value >>= 7) byte[n] |= 128;
        n++;
    } while (value);
    return hone_buffer_append(out, byte, n);
}

static hone_status put_tag(hone_buffer *out, int field, int kind) { return put_number(out, (uint64_t)(field << 3 | kind)); }

hone_status hone_proto_put_varint(hone_buffer *out, int field, uint64_t value)
{
    hone_status status = put_tag(out, field, VARINT);
    return status ? status : put_number(out, value);
}

hone_status hone_proto_put_bytes(hone_buffer *out, int field, const void *data, size_t size)
{
    hone_status status = put_tag(out, field, BYTES);
    if (!status) status = put_number(out, size);
    return status || size == 0 ? status : hone_buffer_append(out, data, size);
}

hone_status hone_proto_put_fixed(hone_buffer *out, int field, const void *value, size_t size) // as all machines that hone runs on have it
{
    hone_status status = put_tag(out, field, size == 8 ? FIXED64 : FIXED32);
    return status ? status : hone_buffer_append(out, value, size);
}
