// Extending a tokenizer: new tokens are rows of old ones, old ids stay, and a text's bytes come back.
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/learn.h"
#include "base/file.h"
#include "text/tokenizer.h"

static char *make_text(size_t size, const char *letters, unsigned seed)
{
    char *text = hone_alloc(size + 1, 1);
    uint64_t x = seed;
    for (size_t i = 0; i < size; i++) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;
        text[i] = letters[(x >> 40) % strlen(letters)];
    }
    return text;
}

static void learn_to(const char *name, const hone_trainer_options *options, const char *text, size_t size)
{
    hone_trainer *trainer = learn(options, text, size, 1);
    must(hone_trainer_save(trainer, test_path(name)));
    hone_trainer_free(trainer);
}

static void test_new_tokens_are_rows_of_old_ones(void **state)
{
    (void)state;
    enum { SIZE = 40000 };
    static const char *const special[] = { "<|endoftext|>" };
    char *general = make_text(SIZE, "aabbccdd  \n", 1), *domain = make_text(SIZE, "aaeeffgg 1\n\xc3\xa9", 2);
    learn_to("old.json", &(hone_trainer_options){ .vocab = 400, .special = special, .n_special = 1 }, general, SIZE);
    hone_tokenizer *old, *extended;
    must(hone_tokenizer_load(test_path("old.json"), &old));
    learn_to("new.json", &(hone_trainer_options){ .vocab = 500, .base = old }, domain, SIZE);
    must(hone_tokenizer_load(test_path("new.json"), &extended));
    assert_int_equal(hone_tokenizer_vocab(extended), 500);
    assert_true(hone_tokenizer_identity(extended) != hone_tokenizer_identity(old));
    const char *texts[] = { general, domain };
    for (int k = 0; k < 2; k++) {
        hone_ids before = { 0 }, after = { 0 }, opened = { 0 };
        must(hone_tokenizer_encode(old, texts[k], SIZE, 0, &before));
        must(hone_tokenizer_encode(extended, texts[k], SIZE, 0, &after));
        for (int64_t i = 0; i < after.count; i++) {
            size_t size;
            const char *piece = hone_tokenizer_piece(extended, after.data[i], &size);
            if (after.data[i] < 400) must(hone_ids_append(&opened, after.data[i]));
            else must(hone_tokenizer_encode_piece(old, piece, size, &opened));
        }
        assert_int_equal(opened.count, before.count);
        assert_memory_equal(opened.data, before.data, (size_t)before.count * sizeof *before.data);
        if (k) assert_true(after.count * 10 < before.count * 8); // the domain's text takes fewer
        hone_free(before.data);
        hone_free(after.data);
        hone_free(opened.data);
    }
    hone_tokenizer_free(old);
    hone_tokenizer_free(extended);
    hone_free(general);
    hone_free(domain);
}

static void test_a_unigram_model_is_not_extended(void **state)
{
    (void)state;
    static const char json[] = "{\"model\": {\"type\": \"Unigram\", \"unk_id\": 0, \"vocab\": [[\"<unk>\", 0], [\"a\", -1]]}}";
    hone_tokenizer *t;
    hone_trainer *trainer;
    must(hone_file_write(test_path("u.json"), json, sizeof json - 1));
    must(hone_tokenizer_load(test_path("u.json"), &t));
    assert_int_equal(hone_trainer_new(&trainer, &(hone_trainer_options){ .vocab = 10, .base = t }), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "a Unigram tokenizer cannot be extended"));
    hone_tokenizer_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_new_tokens_are_rows_of_old_ones), cmocka_unit_test(test_a_unigram_model_is_not_extended) };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
