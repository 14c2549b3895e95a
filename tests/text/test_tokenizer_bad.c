// Tokenizer files that are wrong: every field of a tokenizer.json replaced by everything that it should not be, and
// SentencePiece and tiktoken files cut and changed at every byte, are refused with the file's name, or load and work.
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "base/file.h"
#include "text/convert.h"
#include "text/parts.h"

static const char *const sources[] = { "bpe.json", "bytes.json", "split.json", "unigram.json", "wordpiece.json" };
#define CORPUS HONE_SOURCE_DIR "/tests/fuzz/corpus/fuzz_tokenizer_file/"

static int refused, loaded;

static void try_text(const char *text, size_t size)
{
    static const char sample[] = " Hello  ab\xc3\xa9 a<s>1234's\r\n\xff \xf0\x9f\x98\x80 ";
    hone_tokenizer *tokenizer;
    hone_error_clear();
    if (hone_tokenizer_parse("some/file", text, size, &tokenizer)) {
        if (strncmp(hone_error(), "some/file", 9) != 0) fail_msg("\"%s\" does not name the file; it was %.*s", hone_error(), (int)size, text);
        refused++;
        return;
    }
    hone_ids ids = { 0 };
    hone_buffer back = { 0 };
    if (hone_tokenizer_encode(tokenizer, sample, sizeof sample - 1, HONE_ENCODE_SPECIAL, &ids) == HONE_OK) hone_tokenizer_decode_text(tokenizer, ids.data, ids.count, false, &back);
    hone_free(ids.data);
    hone_buffer_release(&back);
    hone_tokenizer_free(tokenizer);
    loaded++;
}

static void try_json(json_t *root)
{
    char *text = json_dumps(root, JSON_COMPACT);
    try_text(text, strlen(text));
    hone_free(text);
}

static json_t *wrong_value(int kind)
{
    switch (kind) {
    case 0: return json_null();
    case 1: return json_true();
    case 2: return json_integer(-1);
    case 3: return json_integer(1ll << 40);
    case 4: return json_real(1e300);
    case 5: return json_string("");
    case 6: return json_string("no such thing");
    case 7: return json_array();
    case 8: return json_object();
    case 9: return json_pack("[[[]]]");
    default: return NULL;
    }
}
enum { WRONG = 10 };

// Each value below `at`, in turn, by each wrong value, and left out.
static void spoil(json_t *root, json_t *at)
{
    json_t *value, *names = json_array(); // removing and setting moves a key to the end: the names are taken first
    const char *key;
    json_object_foreach(at, key, value) json_array_append_new(names, json_string(key));
    for (size_t n = 0; n < json_array_size(names); n++) {
        const char *name = json_string_value(json_array_get(names, n));
        value = json_incref(json_object_get(at, name));
        spoil(root, value);
        for (int w = 0; w < WRONG; w++) { json_object_set_new(at, name, wrong_value(w)); try_json(root); }
        json_object_del(at, name);
        try_json(root);
        json_object_set_new(at, name, value);
    }
    json_decref(names);
    for (size_t i = 0; i < json_array_size(at); i++) {
        value = json_incref(json_array_get(at, i));
        spoil(root, value);
        for (int w = 0; w < WRONG; w++) { json_array_set_new(at, i, wrong_value(w)); try_json(root); }
        json_array_remove(at, i);
        try_json(root);
        json_array_insert_new(at, i, value);
    }
}

static void test_every_field_wrong_in_turn(void **state)
{
    (void)state;
    for (size_t s = 0; s < sizeof sources / sizeof *sources; s++) {
        char path[512];
        json_t *root;
        snprintf(path, sizeof path, CORPUS "%s", sources[s]);
        assert_int_equal(hone_json_load(path, &root), HONE_OK);
        refused = loaded = 0;
        try_json(root);
        assert_int_equal(loaded, 1); // as it is, it works
        spoil(root, root);
        print_message("%s: %d refused, %d harmless\n", sources[s], refused, loaded);
        assert_true(refused > 100);
        json_decref(root);
    }
}

static void test_model_files_cut_and_changed_at_every_byte(void **state)
{
    (void)state;
    static const char *const names[] = { "unigram.model", "bpe.model", "ranks.tiktoken" };
    for (int f = 0; f < 3; f++) {
        char path[512], *text;
        size_t size;
        snprintf(path, sizeof path, CORPUS "%s", names[f]);
        assert_int_equal(hone_file_read(path, &text, &size), HONE_OK);
        refused = loaded = 0;
        try_text(text, size);
        assert_int_equal(loaded, f < 2);
        for (size_t i = 0; i < size; i++) {
            char *part = hone_alloc(i + 1, 1); // exactly so long: a sanitizer sees every byte read behind
            char *exact = hone_realloc(part, i ? i : 1, 1);
            memcpy(exact, text, i);
            try_text(exact, i);
            hone_free(exact);
            static const uint8_t flips[] = { 0x01, 0x08, 0x80, 0xff };
            for (int k = 0; k < 4; k++) { text[i] ^= (char)flips[k]; try_text(text, size); text[i] ^= (char)flips[k]; }
        }
        print_message("%s: %d refused, %d harmless\n", names[f], refused, loaded);
        assert_true(refused > 20);
        hone_free(text);
    }
}

static void expect_tiktoken(const char *text, const char *message)
{
    json_t *json;
    assert_int_equal(hone_convert_tiktoken("a.tiktoken", text, strlen(text), &json), HONE_FAILED);
    if (!strstr(hone_error(), message)) fail_msg("\"%s\" does not say \"%s\"", hone_error(), message);
}

static void test_tiktoken_files_are_refused_by_line(void **state)
{
    (void)state;
    expect_tiktoken("YQ== 0\nYg== x\n", "a.tiktoken:2: a line \"base64 rank\"");
    expect_tiktoken("YQ== 0\nY!== 1\n", "a.tiktoken:2:");
    expect_tiktoken("YQ== 0\n\nYQ== 1\n", "a.tiktoken:3: this token has a rank already, 0");
    expect_tiktoken("YQ== 0\nYg== 0\n", "id 0 is given to");
    expect_tiktoken("YQ== 0\nYg== 99999999\n", "99999999");
    expect_tiktoken("YQ== 0\nYg== 1\n", "2 ranks is not one that hone knows");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_field_wrong_in_turn), cmocka_unit_test(test_model_files_cut_and_changed_at_every_byte), cmocka_unit_test(test_tiktoken_files_are_refused_by_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
