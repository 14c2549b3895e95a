// pii.h: what names a person, masked: "<email>", "<ip>", "<phone>", "<card>", "<ssn>", "<iban>".
#pragma once
#include "base/memory.h"

// Appends the text with what was found masked, and returns in *found how many. 0: nothing was appended.
hone_status hone_pii_mask(const char *text, size_t size, hone_buffer *out, int64_t *found);
