// Any bytes as a tokenizer's file: tokenizer.json, SentencePiece model or tiktoken file, whichever they look like; one that
// loads must encode and decode.
#include "fuzz/use_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] = " Hello  ab\xc3\xa9 \xe2\x96\x81" "a<s>1234's\r\n\xff\xe4\xb8\xad \xf0\x9f\x98\x80 ";
    hone_tokenizer *tokenizer;
    if (hone_tokenizer_parse("fuzz", (const char *)data, size, &tokenizer)) return 0;
    use_tokenizer(tokenizer, text, sizeof text - 1);
    hone_tokenizer_free(tokenizer);
    return 0;
}
