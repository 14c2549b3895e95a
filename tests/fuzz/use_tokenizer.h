// use_tokenizer.h: what a tokenizer that was loaded must stand: texts encode or are refused, and their ids decode.
#pragma once
#include "fuzz/fuzz.h"
#include "text/parts.h"

static inline void use_tokenizer(hone_tokenizer *tokenizer, const char *text, size_t size)
{
    static const int flags[] = { 0, HONE_ENCODE_SPECIAL, HONE_ENCODE_PLAIN | HONE_ENCODE_MIDDLE };
    for (int f = 0; f < 3; f++) {
        hone_ids ids = { 0 };
        hone_buffer whole = { 0 }, parts = { 0 }, shown = { 0 };
        hone_decode_state state = { 0 };
        if (hone_tokenizer_encode(tokenizer, text, size, flags[f], &ids) == HONE_OK) {
            for (int64_t i = 0; i < ids.count; i++) FUZZ_HOLDS(ids.data[i] >= 0 && ids.data[i] < hone_tokenizer_vocab(tokenizer));
            hone_status status = hone_tokenizer_decode(tokenizer, ids.data, ids.count, false, &whole); // an id without a token: a template may name one
            for (int64_t i = 0; i < ids.count && !status; i++) FUZZ_HOLDS(hone_tokenizer_decode_next(tokenizer, &state, ids.data[i], false, &parts) == HONE_OK);
            FUZZ_HOLDS(status || (whole.size == parts.size && (whole.size == 0 || memcmp(whole.data, parts.data, whole.size) == 0)));
            if (!status) FUZZ_HOLDS(hone_tokenizer_decode_text(tokenizer, ids.data, ids.count, f == 1, &shown) == HONE_OK);
            FUZZ_HOLDS(hone_utf8_valid(shown.size ? shown.data : "", shown.size) == shown.size);
        }
        hone_free(ids.data);
        hone_buffer_release(&whole);
        hone_buffer_release(&parts);
        hone_buffer_release(&shown);
    }
}
