// Training a Unigram model: the same at any number of threads, likelier pieces than characters, every text comes back.
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/learn.h"
#include "text/tokenizer.h"
#include "text/train_unigram.h"

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

static const char *const special[] = { "<|endoftext|>" };
static const hone_trainer_options options = { .vocab = 400, .special = special, .n_special = 1, .unigram = true };

static void test_the_same_pieces_at_any_number_of_threads(void **state)
{
    (void)state;
    char *text = make_text(60000);
    learn_is_the_same_at_any_threads(&options, text, strlen(text));
    hone_free(text);
}

static void test_words_become_pieces_and_every_text_comes_back(void **state)
{
    (void)state;
    char *text = make_text(60000);
    hone_trainer *trainer = learn(&options, text, strlen(text), 4);
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
