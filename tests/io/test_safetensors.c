// test_safetensors.c: what is written reads back; every lie in a header is refused with one message that names the file.
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "io/safetensors.h"
#include "base/memory.h"
#include <math.h>

// A file made of a header text and data of `data_bytes` counting bytes. claimed < 0: the header's true length.
static const char *make_file(const char *name, const char *header, int64_t claimed, size_t data_bytes)
{
    hone_buffer all = { 0 };
    uint64_t n = claimed < 0 ? strlen(header) : (uint64_t)claimed;
    assert_int_equal(hone_buffer_append(&all, &n, 8), HONE_OK);
    assert_int_equal(hone_buffer_append(&all, header, strlen(header)), HONE_OK);
    for (size_t i = 0; i < data_bytes; i++) assert_int_equal(hone_buffer_append(&all, &(char){ (char)i }, 1), HONE_OK);
    assert_int_equal(hone_file_write(test_path(name), all.data, all.size), HONE_OK);
    hone_buffer_release(&all);
    return test_path(name);
}

static void assert_refused(const char *header, int64_t claimed, size_t data_bytes, const char *words)
{
    hone_safetensors set;
    const char *path = make_file("bad.safetensors", header, claimed, data_bytes);
    if (hone_safetensors_open(&set, path) == HONE_OK) fail_msg("accepted: %s", header);
    if (!strstr(hone_error(), words) || !strstr(hone_error(), path)) fail_msg("%s: the message lacks \"%s\" or the path: %s", header, words, hone_error());
    assert_null(set.tensor);
    assert_null(set.file);
}

static const float numbers[] = { 1, -2.5f, 3e-30f, 4, 5, 6 };
static const uint16_t halves[] = { 0x3f80, 0xc020, 0x7f80 };   // bf16: 1, -2.5, infinity

static const void *source(void *context, int64_t index, int64_t first, int64_t count, void *scratch)
{
    (void)context;
    if (index == 1) return halves + first;
    memcpy(scratch, numbers + first, (size_t)count * sizeof(float));   // a small scratch makes many pieces
    return scratch;
}

static void test_written_tensors_read_back(void **state)
{
    (void)state;
    const hone_safetensor_spec spec[] = { { "z.weight", HONE_f32, 2, { 2, 3 } }, { "a", HONE_bf16, 1, { 3 } }, { "empty", HONE_f32, 2, { 0, 5 } } };
    char scratch[8];
    hone_writer writer;
    const char *path = test_path("good.safetensors");
    assert_int_equal(hone_writer_open(&writer, path), HONE_OK);
    assert_int_equal(hone_safetensors_write(&writer, spec, 3, source, NULL, scratch, sizeof scratch), HONE_OK);
    assert_int_equal(hone_writer_commit(&writer), HONE_OK);

    hone_safetensors set;
    assert_int_equal(hone_safetensors_open(&set, path), HONE_OK);
    assert_int_equal(set.count, 3);
    const hone_safetensor *z = hone_safetensors_find(&set, "z.weight"), *a = hone_safetensors_find(&set, "a");
    assert_non_null(z);
    assert_non_null(a);
    assert_null(hone_safetensors_find(&set, "b"));
    assert_int_equal(hone_safetensors_find(&set, "empty")->count, 0);
    assert_int_equal(z->begin % 8, 0);   // the header is padded
    assert_true(z->rank == 2 && z->dim[0] == 2 && z->dim[1] == 3);
    float out[6];
    hone_safetensor_read(&set, z, 0, 6, HONE_f32, out);
    assert_memory_equal(out, numbers, sizeof numbers);
    hone_safetensor_read(&set, z, 4, 2, HONE_f32, out);
    assert_true(out[0] == 5 && out[1] == 6);
    hone_safetensor_read(&set, a, 0, 3, HONE_f32, out);
    assert_true(out[0] == 1 && out[1] == -2.5f && out[2] == __builtin_inff());
    hone_safetensors_drop(&set);
    hone_safetensor_read(&set, z, 0, 6, HONE_f32, out);
    assert_memory_equal(out, numbers, sizeof numbers);
    assert_false(hone_safetensor_converts(z, HONE_bf16));
    hone_safetensors_close(&set);
}

static void test_every_f16_converts_exactly(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float is = hone_f16_to_f32((uint16_t)h);
        int e = (int)(h >> 10 & 31), m = (int)(h & 1023);
        float wanted = e == 31 ? INFINITY : ldexpf((float)(e ? 1024 + m : m), (e ? e : 1) - 25);   // IEEE 754, 3.4
        if (h & 0x8000) wanted = -wanted;
        if (e == 31 && m) assert_true(is != is);
        else assert_memory_equal(&is, &wanted, 4);
    }
}

static void test_lying_headers_are_refused(void **state)
{
    (void)state;
    const char *one = "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
    assert_refused(one, 1 << 20, 8, "cut short");                       // longer than the file
    assert_refused(one, INT64_MAX, 8, "cut short");
    assert_refused(one, 5, 8, "not valid JSON");                        // shorter than it is
    assert_refused(one, 0, 8, "not a JSON object");
    assert_refused(one, -1, 7, "cut short");                            // data truncated
    assert_refused(one, -1, 9, "belong to no tensor");                  // data oversized
    assert_refused("[1,2]", -1, 0, "not a JSON object");
    assert_refused("{\"a\":", -1, 0, "not valid JSON");
    assert_refused("{\"a\":3}", -1, 0, "must give dtype");
    assert_refused("{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", -1, 8, "must give dtype");
    assert_refused("{\"a\":{\"dtype\":\"F33\",\"shape\":[2],\"data_offsets\":[0,8]}}", -1, 8, "F33");
    assert_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", -1, 8, "not a size");
    assert_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2.0],\"data_offsets\":[0,8]}}", -1, 8, "not a size");
    assert_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", -1, 8, "do not make the 8 bytes");
    assert_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387906],\"data_offsets\":[0,8]}}", -1, 8, "do not make"); // x 4 wraps to 8
    assert_refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[4294967296,4294967296,8],\"data_offsets\":[0,8]}}", -1, 8, "do not make");
    assert_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,2],\"data_offsets\":[0,8]}}", -1, 8, "9 dimensions");
    assert_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", -1, 8, "not a range");
    assert_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", -1, 8, "not a range");
    assert_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", -1, 8, "two data_offsets");
    assert_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[9223372036854775800,9223372036854775807]}}", -1, 8, "cut short");
    assert_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", -1, 12, "overlap");
    assert_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", -1, 8, "overlap");
    assert_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[9,17]}}", -1, 17, "belong to none");
    assert_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", -1, 8, "belong to none");
    assert_refused("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}", -1, 16, "uplicate");
    assert_refused("{\"\xff\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", -1, 8, "not valid JSON");
}

static void test_short_and_absent_files_are_refused(void **state)
{
    (void)state;
    hone_safetensors set;
    for (size_t n = 0; n < 8; n++) {
        assert_int_equal(hone_file_write(test_path("short"), "\0\0\0\0\0\0\0", n), HONE_OK);
        assert_int_equal(hone_safetensors_open(&set, test_path("short")), HONE_FAILED);
        assert_non_null(strstr(hone_error(), "too few"));
    }
    assert_int_equal(hone_safetensors_open(&set, test_path("absent")), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "absent"));
    assert_int_equal(hone_dir_create(test_path("bare")), HONE_OK);
    assert_int_equal(hone_safetensors_open_folder(&set, test_path("bare")), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "model.safetensors"));
}

static hone_status open_index(hone_safetensors *set, const char *index)
{
    assert_int_equal(hone_file_write(test_path("many/model.safetensors.index.json"), index, strlen(index)), HONE_OK);
    return hone_safetensors_open_folder(set, test_path("many"));
}

static void test_an_index_joins_many_files(void **state)
{
    (void)state;
    hone_safetensors set;
    assert_int_equal(hone_dir_create(test_path("many")), HONE_OK);
    make_file("many/1.safetensors", "{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"c\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]}}", -1, 6);
    make_file("many/2.safetensors", "{\"b\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]}}", -1, 2);
    assert_int_equal(open_index(&set, "{\"weight_map\": {\"b\": \"2.safetensors\", \"a\": \"1.safetensors\", \"c\": \"1.safetensors\"}}"), HONE_OK);
    assert_int_equal(set.n_file, 2);
    assert_int_equal(set.count, 3);
    float c, wanted;
    hone_safetensor_read(&set, hone_safetensors_find(&set, "c"), 0, 1, HONE_f32, &c);   // bytes 2..5, not aligned
    memcpy(&wanted, "\2\3\4\5", 4);
    assert_true(c == wanted);
    assert_false(hone_safetensor_converts(hone_safetensors_find(&set, "a"), HONE_f32));
    assert_true(hone_safetensor_converts(hone_safetensors_find(&set, "b"), HONE_f32));
    hone_safetensors_close(&set);

    assert_int_equal(open_index(&set, "{\"weight_map\": {\"b\": \"3.safetensors\"}}"), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "3.safetensors"));
    assert_int_equal(open_index(&set, "{\"weight_map\": {\"x\": \"2.safetensors\"}}"), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "tensor x"));
    assert_int_equal(open_index(&set, "{\"weight_map\": {\"b\": \"../many/2.safetensors\"}}"), HONE_FAILED);
    assert_int_equal(open_index(&set, "{\"weight_map\": {\"b\": 2}}"), HONE_FAILED);
    assert_int_equal(open_index(&set, "{}"), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "weight_map"));
    make_file("many/2.safetensors", "{\"a\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[0,2]}}", -1, 2);
    assert_int_equal(open_index(&set, "{\"weight_map\": {\"c\": \"1.safetensors\", \"a\": \"2.safetensors\"}}"), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "also stands in"));
}

// Deterministic damage: never a crash or a read outside (ASan), and what is accepted can be read to its last byte.
static void test_damaged_headers_never_crash(void **state)
{
    (void)state;
    static const char header[] = "{\"__metadata__\":{\"format\":\"pt\"},\"ab\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]},"
        "\"b\":{\"dtype\":\"BF16\",\"shape\":[4],\"data_offsets\":[8,16]},\"c\":{\"dtype\":\"F16\",\"shape\":[0,9],\"data_offsets\":[16,16]}}";
    const size_t size = 8 + sizeof header - 1 + 16;
    uint8_t file[8 + sizeof header - 1 + 16], copy[sizeof file];
    uint64_t n = sizeof header - 1;
    memcpy(file, &n, 8);
    memcpy(file + 8, header, n);
    memset(file + 8 + n, 0x3c, 16);
    int mutations = getenv("HONE_TEST_LONG") ? 300000 : 3000, accepted = 0;
    uint32_t random = 7;
    hone_safetensors set;
    for (int i = 0; i < (int)size + mutations; i++) {
        memcpy(copy, file, size);
        size_t used = i < (int)size ? (size_t)i : size;
        for (int k = 0; i >= (int)size && k < 1 + i % 3; k++) {
            static const char pieces[] = "0123456789-:,[]{}\"FUB";
            random = random * 1664525 + 1013904223;
            size_t at = (random >> 8) % (size - 16);
            random = random * 1664525 + 1013904223;
            copy[at] = i % 2 ? (uint8_t)(random >> 8) : (uint8_t)pieces[(random >> 8) % (sizeof pieces - 1)];
        }
        remove(test_path("fuzz.safetensors"));   // a new file each time: hone_file_write, and ext4 on truncation, wait for the disk
        FILE *out_file = fopen(test_path("fuzz.safetensors"), "wb");
        assert_non_null(out_file);
        fwrite(copy, 1, used, out_file);
        fclose(out_file);
        if (hone_safetensors_open(&set, test_path("fuzz.safetensors"))) {
            assert_true(hone_error()[0] != 0);
            continue;
        }
        accepted++;
        for (int64_t t = 0; t < set.count; t++) {
            float out[16];
            assert_in_range(set.tensor[t].count, 0, 16);
            if (hone_safetensor_converts(&set.tensor[t], HONE_f32)) hone_safetensor_read(&set, &set.tensor[t], 0, set.tensor[t].count, HONE_f32, out);
        }
        hone_safetensors_close(&set);
    }
    assert_true(accepted > 10);   // damage within names is no damage
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_written_tensors_read_back),
        cmocka_unit_test(test_every_f16_converts_exactly),
        cmocka_unit_test(test_lying_headers_are_refused),
        cmocka_unit_test(test_short_and_absent_files_are_refused),
        cmocka_unit_test(test_an_index_joins_many_files),
        cmocka_unit_test(test_damaged_headers_never_crash),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
