// TensorBoard's event files, read back by rules written apart from the writer: every checksum right, every number there.
#include "run/tensorboard.h"
#include "base/file.h"
#include "base/memory.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include <math.h>
#include <string.h>

static void test_checksum_is_castagnolis(void **state)
{
    (void)state;
    assert_int_equal(hone_crc32c("123456789", 9), 0xe3069283u);
    uint8_t zero[32] = { 0 }; // RFC 3720, B.4
    assert_int_equal(hone_crc32c(zero, sizeof zero), 0x8a9136aau);
}

typedef struct { double wall, step; bool version, session; int values; char tag[8][64]; float value[8]; } event;

static uint64_t varint(const uint8_t **at)
{
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return value;
    }
}

static void read_value(event *e, const uint8_t *at, const uint8_t *end)
{
    while (at < end) {
        uint64_t tag = varint(&at);
        if (tag == (1 << 3 | 2)) {
            uint64_t n = varint(&at);
            snprintf(e->tag[e->values], sizeof e->tag[0], "%.*s", (int)n, (const char *)at);
            at += n;
        } else {
            assert_int_equal(tag, 2 << 3 | 5);
            memcpy(&e->value[e->values], at, 4);
            at += 4;
        }
    }
    e->values++;
}

static event read_event(const uint8_t *at, const uint8_t *end)
{
    event e = { 0 };
    while (at < end) {
        uint64_t tag = varint(&at);
        if (tag == (1 << 3 | 1)) { memcpy(&e.wall, at, 8); at += 8; continue; }
        if (tag == (2 << 3 | 0)) { e.step = (double)varint(&at); continue; }
        uint64_t n = varint(&at);
        if (tag == (3 << 3 | 2)) e.version = n == 13 && memcmp(at, "brain.Event:2", 13) == 0;
        else if (tag == (7 << 3 | 2)) e.session = n == 2 && at[0] == 8 && at[1] == 1;
        else {
            assert_int_equal(tag, 5 << 3 | 2);
            for (const uint8_t *value = at, *last = at + n; value < last;) {
                assert_int_equal(varint(&value), 1 << 3 | 2);
                uint64_t size = varint(&value);
                read_value(&e, value, value + size);
                value += size;
            }
        }
        at += n;
    }
    assert_true(at == end);
    return e;
}

static uint32_t mask(uint32_t crc) { return ((crc >> 15) | (crc << 17)) + 0xa282ead8u; }

static void test_rows_come_back(void **state)
{
    (void)state;
    hone_tensorboard board;
    char *folder = hone_strdup(test_path("run")), *inner = hone_path_join(folder, "tensorboard"), **names, *data;
    int64_t count;
    size_t size;
    assert_int_equal(hone_dir_create(folder), HONE_OK);
    assert_int_equal(hone_tensorboard_open(&board, folder), HONE_OK);
    json_t *step = json_pack("{s:i, s:f, s:i, s:s}", "step", 300, "loss", 2.5, "trained_tokens", 40960, "note", "text"), *held = json_pack("{s:i, s:f}", "step", 301, "loss", 3.25);
    json_t *resume = json_pack("{s:s}", "from", "a-b/step-256");
    hone_tensorboard_add(&board, "step", step);
    hone_tensorboard_add(&board, "sample", step); // has no number of its own
    hone_tensorboard_add(&board, "eval", held);
    hone_tensorboard_add(&board, "resume", resume);
    hone_tensorboard_close(&board);
    assert_int_equal(hone_dir_list(inner, &names, &count), HONE_OK);
    assert_int_equal(count, 1);
    assert_non_null(strstr(names[0], "tfevents"));
    char *path = hone_path_join(inner, names[0]);
    assert_int_equal(hone_file_read(path, &data, &size), HONE_OK);
    event e[8];
    int n = 0;
    for (size_t at = 0; at < size; n++) {
        uint64_t length;
        uint32_t of_length, of_data;
        memcpy(&length, data + at, 8);
        memcpy(&of_length, data + at + 8, 4);
        memcpy(&of_data, data + at + 12 + length, 4);
        assert_int_equal(of_length, mask(hone_crc32c(data + at, 8)));
        assert_int_equal(of_data, mask(hone_crc32c(data + at + 12, length)));
        e[n] = read_event((uint8_t *)data + at + 12, (uint8_t *)data + at + 12 + length);
        assert_true(e[n].wall > 1.7e9);
        at += 16 + length;
    }
    assert_int_equal(n, 4);
    assert_true(e[0].version && e[0].step == 0);
    assert_true(e[1].step == 300 && e[1].values == 2);
    assert_string_equal(e[1].tag[0], "train/loss");
    assert_true(e[1].value[0] == 2.5f && e[1].value[1] == 40960.0f);
    assert_string_equal(e[2].tag[0], "eval/loss");
    assert_true(e[2].step == 301 && e[2].value[0] == 3.25f);
    assert_true(e[3].session && e[3].step == 257); // what stands behind the checkpoint will come again
    hone_free(path);
    hone_free(data);
    hone_free(names[0]);
    hone_free(names);
    hone_free(inner);
    hone_free(folder);
    json_decref(step);
    json_decref(held);
    json_decref(resume);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_checksum_is_castagnolis), cmocka_unit_test(test_rows_come_back) };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
