// Shards and data sets: what is written is read, and whatever is damaged, foreign or cut short is refused by name.
#include "support/check.h"
#include "support/cmocka_all.h"
#include "data/writer.h"

#include <unistd.h>
#include "base/json.h"

#define ROOT HONE_BINARY_DIR "/scratch_shards"
enum { VOCAB = 300, EOS = 7 };
static const uint64_t TOKENIZER = 0x1234567890abcdefull;

static void must_fail(hone_status status, const char *part)
{
    assert_int_equal(status, HONE_FAILED);
    if (!strstr(hone_error(), part)) fail_msg("\"%s\" does not say \"%s\"", hone_error(), part);
}

static int32_t id_at(int64_t i) { return (int32_t)((i * 7919 + i / 13) % (VOCAB - 10)) + 10; }

// 500 documents of 1 to 400 tokens in shards of 30,000; every tenth document is held out.
static int64_t make(const char *path, int64_t vocab)
{
    hone_dataset_writer writer;
    int64_t n = 0;
    must(hone_dir_remove(path));
    must(hone_dataset_writer_open(&writer, path, vocab, TOKENIZER, EOS, 30000, NULL));
    for (int d = 0; d < 500; d++) {
        int32_t ids[400];
        int64_t count = 1 + d * 37 % 400;
        for (int64_t i = 0; i < count - 1; i++) ids[i] = id_at(n + i);
        ids[count - 1] = EOS;
        must(hone_dataset_writer_add(&writer, d % 10 == 9 ? HONE_SPLIT_HELD : HONE_SPLIT_TRAIN, ids, count, 4 * count, d % 3));
        if (d % 10 != 9) n += count;
    }
    must(hone_dataset_writer_finish(&writer, NULL));
    return n;
}

static void test_tokens_and_documents_come_back_across_shards(void **state)
{
    (void)state;
    for (int wide = 0; wide < 2; wide++) {
        int64_t n = make(ROOT "/a", wide ? 100000 : VOCAB), ends[600];
        hone_dataset data;
        must(hone_dataset_open(&data, ROOT "/a", HONE_SPLIT_TRAIN, 100000, TOKENIZER, -1));
        assert_int_equal(data.n_tokens, n);
        assert_int_equal(data.n_documents, 450);
        assert_int_equal(data.n_bytes, 4 * n);
        assert_true(data.n_shards > 2);
        assert_int_equal(data.shard[0].id_bytes, wide ? 4 : 2);
        int32_t *all = hone_alloc((size_t)n, sizeof *all);
        must(hone_dataset_read(&data, 0, n, all));
        int64_t found = hone_dataset_ends(&data, 0, n, ends), end = 0, at = 0;
        assert_int_equal(found, 450);
        for (int d = 0; d < 500; d++) {
            if (d % 10 == 9) continue;
            assert_int_equal(hone_dataset_source(&data, end), d % 3);
            end += 1 + d * 37 % 400;
            assert_int_equal(ends[at++], end);
            assert_int_equal(all[end - 1], EOS);
        }
        for (int64_t i = 0, k = 0; i < n; i++) {
            if (i == ends[k] - 1) k++;
            else assert_int_equal(all[i], id_at(i));
        }
        for (int64_t i = 0; i + 1000 <= n; i += 777) { // any part is the part of the whole
            int32_t part[1000];
            must(hone_dataset_read(&data, i, 1000, part));
            assert_memory_equal(part, all + i, sizeof part);
            int64_t some[1001], count = hone_dataset_ends(&data, i, 1000, some), first = 0;
            while (ends[first] <= i) first++;
            assert_memory_equal(some, ends + first, (size_t)count * sizeof *some);
            assert_true(some[count - 1] >= i + 1000 && (count == 1 || some[count - 2] < i + 1000));
        }
        must(hone_dataset_verify(&data));
        hone_free(all);
        hone_dataset_close(&data);
    }
}

static char *read_shard(size_t *size)
{
    char *bytes;
    must(hone_file_read(ROOT "/a/train-00000.bin", &bytes, size));
    return bytes;
}

// Opens and reads everything; the message of the first failure counts.
static hone_status use(int64_t vocab, uint64_t tokenizer)
{
    hone_dataset data;
    hone_status status = hone_dataset_open(&data, ROOT "/a", HONE_SPLIT_TRAIN, vocab, tokenizer, -1);
    if (status) return status;
    int32_t *all = hone_alloc((size_t)data.n_tokens, sizeof *all);
    status = hone_dataset_read(&data, 0, data.n_tokens, all);
    hone_free(all);
    hone_dataset_close(&data);
    return status;
}

static void test_every_damaged_byte_of_a_shard_is_noticed(void **state)
{
    (void)state;
    make(ROOT "/a", VOCAB);
    size_t size;
    char *bytes = read_shard(&size);
    must(use(VOCAB, TOKENIZER));
    for (size_t i = 0; i < size; i += i < 200 || i + 600 > size ? 1 : 501) { // head and foot whole, a sample of the rest
        if (i >= 64 + 60000 && i < size - 64 && bytes[i] == 0) continue; // may be the padding behind the ids: nobody reads it
        bytes[i] ^= 0x10;
        must(hone_file_write(ROOT "/a/train-00000.bin", bytes, size));
        hone_status status = use(VOCAB, TOKENIZER);
        if (status == HONE_OK) fail_msg("byte %zu of %zu was changed and nobody noticed", i, size);
        assert_non_null(strstr(hone_error(), "train-00000.bin"));
        bytes[i] ^= 0x10;
    }
    hone_free(bytes);
}

static void test_truncated_shards_are_refused(void **state)
{
    (void)state;
    make(ROOT "/a", VOCAB);
    size_t size;
    char *bytes = read_shard(&size);
    static const size_t cuts[] = { 0, 10, 64, 127, 128, 1000 };
    for (size_t c = 0; c < 6; c++) {
        must(hone_file_write(ROOT "/a/train-00000.bin", bytes, cuts[c]));
        must_fail(use(VOCAB, TOKENIZER), "train-00000.bin");
    }
    for (size_t less = 1; less < 200; less += 13) {
        must(hone_file_write(ROOT "/a/train-00000.bin", bytes, size - less));
        must_fail(use(VOCAB, TOKENIZER), "cut short");
    }
    hone_free(bytes);
}

static void test_foreign_data_is_refused(void **state)
{
    (void)state;
    make(ROOT "/a", VOCAB);
    must(use(VOCAB, TOKENIZER));
    must(use(VOCAB, 0));
    must_fail(use(VOCAB, TOKENIZER + 1), "made with tokenizer 1234567890abcdef, but the model's is 1234567890abcdf0");
    must_fail(use(VOCAB - 1, TOKENIZER), "300 ids, but the model's vocabulary only 299");
    // a shard of another data set under the right name
    size_t size, other;
    char *bytes = read_shard(&size), *second;
    must(hone_file_read(ROOT "/a/train-00001.bin", &second, &other));
    must(hone_file_write(ROOT "/a/train-00000.bin", second, other));
    must_fail(use(VOCAB, TOKENIZER), "of another data set");
    must(hone_file_write(ROOT "/a/train-00000.bin", bytes, size));
    must(use(VOCAB, TOKENIZER));
    hone_free(bytes);
    hone_free(second);
    hone_dataset data;
    must_fail(hone_dataset_open(&data, ROOT "/nowhere", HONE_SPLIT_TRAIN, VOCAB, 0, -1), "hone prepare");
    json_t *json;
    must(hone_json_load(ROOT "/a/data.json", &json));
    json_object_set_new(json, "version", json_integer(9));
    must(hone_json_save(ROOT "/a/data.json", json));
    must_fail(use(VOCAB, TOKENIZER), "version 9");
    json_object_set_new(json, "version", json_integer(2));
    json_object_del(json, "train");
    must(hone_json_save(ROOT "/a/data.json", json));
    must_fail(use(VOCAB, TOKENIZER), "train.shards is missing");
    json_decref(json);
}

static void test_raw_files_name_the_place_of_a_wrong_id(void **state)
{
    (void)state;
    uint16_t raw[100000];
    hone_dataset data;
    int32_t out[100000];
    for (int i = 0; i < 100000; i++) raw[i] = (uint16_t)id_at(i);
    must(hone_dir_create(ROOT));
    must(hone_file_write(ROOT "/raw.u16", raw, sizeof raw));
    must(hone_dataset_open(&data, ROOT "/raw.u16", HONE_SPLIT_TRAIN, VOCAB, TOKENIZER, -1));
    must(hone_dataset_read(&data, 0, 100000, out));
    for (int i = 0; i < 100000; i++) assert_int_equal(out[i], id_at(i));
    hone_dataset_close(&data);
    must_fail(hone_dataset_open(&data, ROOT "/raw.u16", HONE_SPLIT_HELD, VOCAB, 0, -1), "no held-out part");
    raw[70001] = VOCAB;
    must(hone_file_write(ROOT "/raw.u16", raw, sizeof raw));
    must(hone_dataset_open(&data, ROOT "/raw.u16", HONE_SPLIT_TRAIN, VOCAB, 0, -1));
    must(hone_dataset_read(&data, 0, 100, out));
    must_fail(hone_dataset_read(&data, 70000, 100, out), "token 70001 has id 300, outside the model's vocabulary of 300");
    hone_dataset_close(&data);
    must(hone_file_write(ROOT "/raw.u32", raw, 7));
    must_fail(hone_dataset_open(&data, ROOT "/raw.u32", HONE_SPLIT_TRAIN, VOCAB, 0, -1), "no whole number of 4-byte ids");
    must(hone_file_write(ROOT "/raw.u32", raw, 0));
    must_fail(hone_dataset_open(&data, ROOT "/raw.u32", HONE_SPLIT_TRAIN, VOCAB, 0, -1), "has no tokens");
}

static void test_writing_over_something_is_refused_and_abort_leaves_nothing(void **state)
{
    (void)state;
    hone_dataset_writer writer;
    make(ROOT "/a", VOCAB);
    must_fail(hone_dataset_writer_open(&writer, ROOT "/a", VOCAB, TOKENIZER, EOS, 0, NULL), "exists already");
    must(hone_dir_remove(ROOT "/b"));
    must(hone_dataset_writer_open(&writer, ROOT "/b/", VOCAB, TOKENIZER, EOS, 0, NULL));
    must(hone_dataset_writer_add(&writer, HONE_SPLIT_TRAIN, (int32_t[]){ 1, 2, EOS }, 3, 2, 0));
    hone_dataset_writer_abort(&writer);
    assert_false(hone_dir_exists(ROOT "/b"));
    assert_false(hone_dir_exists(ROOT "/b.tmp"));
}

// A shard that is cut short while it is read: an error, where a mapping would end the process.
static void test_a_shard_cut_short_while_in_use_is_an_error(void **state)
{
    (void)state;
    int32_t ids[64];
    int64_t n = make(ROOT "/cut", VOCAB);
    hone_dataset data;
    must(hone_dataset_open(&data, ROOT "/cut", HONE_SPLIT_TRAIN, VOCAB, TOKENIZER, -1));
    must(hone_dataset_read(&data, 0, 64, ids));
    assert_int_equal(truncate(ROOT "/cut/train-00000.bin", 4096), 0);
    hone_status status = HONE_OK;
    for (int64_t at = 0; at + 64 <= n && !status; at += 64) status = hone_dataset_read(&data, at, 64, ids);
    assert_int_equal(status, HONE_FAILED);
    assert_non_null(strstr(hone_error(), "train-00000.bin: it ends at byte 4096"));
    hone_dataset_close(&data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_shard_cut_short_while_in_use_is_an_error),
        cmocka_unit_test(test_tokens_and_documents_come_back_across_shards),
        cmocka_unit_test(test_every_damaged_byte_of_a_shard_is_noticed),
        cmocka_unit_test(test_truncated_shards_are_refused),
        cmocka_unit_test(test_foreign_data_is_refused),
        cmocka_unit_test(test_raw_files_name_the_place_of_a_wrong_id),
        cmocka_unit_test(test_writing_over_something_is_refused_and_abort_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
