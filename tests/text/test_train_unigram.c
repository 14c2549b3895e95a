// Training a Unigram model: the same at any number of threads, likelier pieces than characters, every text comes back.
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "base/file.h"
#include "text/tokenizer.h"
#include "text/train.h"
#include "text/train_unigram.h"

static void must(hone_status status) { if (status) fail_msg("%s", hone_error()); }

static char *make_text(size_t size)
{
    static const char *const words[] = { "the", "captain", "ship", "sea", "ships", "captains", "sailing", "sailed", "and", "over", "wind", "windy", "na\xc3\xafve", "1851", "storm", "stormy" };
    hone_buffer text = { 0 };
    uint64_t x = 5;
    while (text.size < size) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;
        must(hone_buffer_print(&text, "%s%s", words[(x >> 40) % 16], x >> 60 == 0 ? ".\n" : x >> 60 == 1 ? ", " : " "));
    }
    return text.data;
}

static hone_trainer *learn(const char *text, int64_t vocab, int parts)
{
    static const char *const special[] = { "<|endoftext|>" };
    hone_trainer *trainer;
    const char *list[64];
    size_t sizes[64], size = strlen(text), at = 0;
    must(hone_trainer_new(&trainer, &(hone_trainer_options){ .vocab = vocab, .special = special, .n_special = 1, .unigram = true }));
    for (int p = 0; p < parts; p++) {
        size_t end = p + 1 == parts ? size : size / (size_t)parts * (size_t)(p + 1);
        while (end < size && text[end - 1] != '\n') end++;
        list[p] = text + at;
        sizes[p] = end - at;
        at = end;
    }
    must(hone_trainer_add(trainer, parts, list, sizes, true));
    must(hone_trainer_run(trainer, NULL, NULL));
    return trainer;
}

static void test_the_same_pieces_at_any_number_of_threads(void **state)
{
    (void)state;
    char *text = make_text(60000), *first = NULL, *other;
    size_t first_size = 0, size;
    static const struct { const char *threads; int parts; } runs[] = { { "1", 1 }, { "2", 50 }, { "5", 7 } };
    for (int r = 0; r < 3; r++) {
        setenv("HONE_THREADS", runs[r].threads, 1);
        hone_trainer *trainer = learn(text, 400, runs[r].parts);
        must(hone_trainer_save(trainer, test_path("u.json")));
        hone_trainer_free(trainer);
        must(hone_file_read(test_path("u.json"), &other, &size));
        if (!first) { first = other; first_size = size; continue; }
        assert_int_equal(size, first_size);
        assert_memory_equal(other, first, size);
        hone_free(other);
    }
    unsetenv("HONE_THREADS");
    hone_free(first);
    hone_free(text);
}

static void test_words_become_pieces_and_every_text_comes_back(void **state)
{
    (void)state;
    char *text = make_text(60000);
    hone_trainer *trainer = learn(text, 400, 4);
    must(hone_trainer_save(trainer, test_path("u.json")));
    assert_true(hone_trainer_vocab(trainer) > 258 + 94 + 16 && hone_trainer_vocab(trainer) <= 400);
    hone_trainer_free(trainer);
    hone_free(text);
    hone_tokenizer *t;
    must(hone_tokenizer_load(test_path("u.json"), &t));
    assert_true(hone_tokenizer_find(t, "\xe2\x96\x81" "captain") >= 0 && hone_tokenizer_find(t, "\xe2\x96\x81the") >= 0);
    static const char *const samples[] = { "the captain", " the  captain ", "a\tb\r\n\n", "\xe4\xb8\x96 \xf0\x9f\x98\x80", "<0x41>", "", "\xe2\x96\x81", "ships.\nthe sea" };
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        hone_ids ids = { 0 };
        hone_buffer back = { 0 };
        must(hone_tokenizer_encode(t, samples[i], strlen(samples[i]), 0, &ids));
        must(hone_tokenizer_decode(t, ids.data, ids.count, false, &back));
        const char *want = i == 6 ? " " : samples[i]; // the mark itself stands for a space: the one text that does not
        assert_string_equal(back.size ? back.data : "", want);
        if (i == 0) assert_int_equal(ids.count, 2);
        hone_free(ids.data);
        hone_buffer_release(&back);
    }
    hone_tokenizer_free(t);
}

static void test_too_small_a_vocabulary_is_refused(void **state)
{
    (void)state;
    hone_trainer *trainer;
    static const char *const special[] = { "<|endoftext|>" };
    assert_int_equal(hone_trainer_new(&trainer, &(hone_trainer_options){ .vocab = 257, .special = special, .n_special = 1, .unigram = true }), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "need 258"));
    static const char text[] = "abcdefghijklmnopqrstuvwxyz abc";
    const char *list[] = { text };
    size_t size[] = { sizeof text - 1 };
    must(hone_trainer_new(&trainer, &(hone_trainer_options){ .vocab = 350, .special = special, .n_special = 1, .unigram = true }));
    must(hone_trainer_add(trainer, 1, list, size, true));
    assert_int_equal(hone_trainer_run(trainer, NULL, NULL), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "is too small: the text has 95 characters"));
    hone_trainer_free(trainer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_same_pieces_at_any_number_of_threads), cmocka_unit_test(test_words_become_pieces_and_every_text_comes_back),
        cmocka_unit_test(test_too_small_a_vocabulary_is_refused),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
