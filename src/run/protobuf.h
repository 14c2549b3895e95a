// protobuf.h: fields of protocol buffers, by number: what the files for TensorBoard and Weights & Biases are made of.
//
//   tag varint (number << 3 | kind), then     kind 0: varint     1: 8 bytes     2: length varint, bytes     5: 4 bytes
//
// A message within a message is bytes: fill a buffer of its own, put that.
#pragma once
#include "base/memory.h"

hone_status hone_proto_put_varint(hone_buffer *out, int field, uint64_t value);
hone_status hone_proto_put_bytes(hone_buffer *out, int field, const void *data, size_t size);   // size 0: an empty message or text
hone_status hone_proto_put_fixed(hone_buffer *out, int field, const void *value, size_t size);  // 4 or 8, little-endian
