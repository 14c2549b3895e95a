// GPT-2's two files: the bytes up to the first NUL are vocab.json, the rest merges.txt.
#include "fuzz/use_tokenizer.h"
#include "base/file.h"

#include <stdio.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char folder[64], vocab[96], merges[96];
    if (!*folder) {
        snprintf(folder, sizeof folder, "%s/hone-fuzz-%d", hone_dir_exists("/dev/shm") ? "/dev/shm" : "/tmp", (int)getpid());
        snprintf(vocab, sizeof vocab, "%s/vocab.json", folder);
        snprintf(merges, sizeof merges, "%s/merges.txt", folder);
    }
    const uint8_t *cut = memchr(data, 0, size);
    size_t first = cut ? (size_t)(cut - data) : size, rest = cut ? size - first - 1 : 0;
    FUZZ_HOLDS(hone_dir_create(folder) == HONE_OK);
    FILE *a = fopen(vocab, "wb"), *b = fopen(merges, "wb");
    FUZZ_HOLDS(a && b);
    fwrite(data, 1, first, a);
    fwrite(cut ? cut + 1 : data, 1, rest, b);
    fclose(a);
    fclose(b);
    hone_tokenizer *tokenizer;
    if (hone_tokenizer_load(folder, &tokenizer) == HONE_OK) {
        use_tokenizer(tokenizer, " ab\xc3\xa9 abc\n", 10);
        hone_tokenizer_free(tokenizer);
    }
    hone_dir_remove(folder);
    return 0;
}
