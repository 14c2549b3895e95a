// GPT-2's two files: the bytes up to the first NUL are vocab.json, the rest merges.txt.
#include "fuzz/pieces.h"
#include "fuzz/use_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_piece rest = { data, size }, vocab = fuzz_take(&rest, false), merges = fuzz_take(&rest, true);
    fuzz_file("vocab.json", vocab.data, vocab.size);
    fuzz_file("merges.txt", merges.data, merges.size);
    hone_tokenizer *tokenizer;
    if (hone_tokenizer_load(fuzz_folder(), &tokenizer) == HONE_OK) {
        use_tokenizer(tokenizer, " ab\xc3\xa9 abc\n", 10);
        hone_tokenizer_free(tokenizer);
    }
    return 0;
}
