#include "support/learn.h"
#include "base/file.h"
#include "base/memory.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"

enum { MOST_PARTS = 64 };

hone_trainer *learn(const hone_trainer_options *options, const char *text, size_t size, int parts)
{
    hone_trainer *trainer;
    const char *list[MOST_PARTS];
    size_t sizes[MOST_PARTS], at = 0;
    assert_true(parts <= MOST_PARTS);
    for (int p = 0; p < parts; p++) { // lines are what is counted
        size_t end = p + 1 == parts ? size : size / (size_t)parts * (size_t)(p + 1);
        while (end < size && text[end - 1] != '\n') end++;
        list[p] = text + at;
        sizes[p] = end - at;
        at = end;
    }
    must(hone_trainer_new(&trainer, options));
    must(hone_trainer_add(trainer, parts, list, sizes, true));
    must(hone_trainer_run(trainer, NULL, NULL));
    return trainer;
}

int64_t learn_is_the_same_at_any_threads(const hone_trainer_options *options, const char *text, size_t size)
{
    static const struct { const char *threads; int parts; } runs[] = { { "1", 1 }, { "2", MOST_PARTS }, { "5", 7 } };
    char *first = NULL, *other;
    size_t first_size = 0, other_size;
    int64_t vocab = 0;
    for (size_t r = 0; r < sizeof runs / sizeof *runs; r++) {
        setenv("HONE_THREADS", runs[r].threads, 1);
        hone_trainer *trainer = learn(options, text, size, runs[r].parts);
        must(hone_trainer_save(trainer, test_path("learned.json")));
        vocab = hone_trainer_vocab(trainer);
        hone_trainer_free(trainer);
        must(hone_file_read(test_path("learned.json"), &other, &other_size));
        if (!first) { first = other; first_size = other_size; continue; }
        assert_int_equal(other_size, first_size);
        assert_memory_equal(other, first, first_size);
        hone_free(other);
    }
    unsetenv("HONE_THREADS");
    hone_free(first);
    return vocab;
}
