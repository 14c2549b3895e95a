// test_blocks.c: blocks of weights decode bit for bit as the `gguf` package decodes them and are encoded to the same bytes where
// it can (tests/golden/blocks.safetensors, tools/make_block_goldens.py); the other formats err no more than their steps allow.
#include "support/cmocka_all.h"
#include "support/check.h"
#include "base/memory.h"
#include "base/blocks.h"
#include "graph/tensor.h"
#include "io/safetensors.h"
#include <math.h>

static hone_safetensors golden;

static int open_golden(void **state)
{
    (void)state;
    must(hone_safetensors_open(&golden, HONE_SOURCE_DIR "/tests/golden/blocks.safetensors"));
    return 0;
}

static int close_golden(void **state)
{
    (void)state;
    hone_safetensors_close(&golden);
    return 0;
}

// "Q4_0.bytes"; NULL if there is none. hone_free() it.
static void *load(const char *format, const char *what, int64_t *count)
{
    char name[40];
    snprintf(name, sizeof name, "%s%s", format, what);
    const hone_safetensor *t = hone_safetensors_find(&golden, name);
    if (!t) return NULL;
    void *data = hone_alloc((size_t)t->count, hone_dtype_bytes(t->kind));
    hone_safetensor_read(&golden, t, 0, t->count, t->kind, data);
    *count = t->count;
    return data;
}

static void test_blocks_decode_as_the_package_decodes_them(void **state)
{
    (void)state;
    for (int f = 0; f < HONE_BLOCKS_COUNT; f++) {
        const hone_blocks_format *about = hone_blocks_about((hone_blocks)f);
        if (about->gguf < 0) continue;
        int64_t bytes = 0, count = 0;
        uint8_t *data = load(about->name, ".bytes", &bytes);
        float *values = load(about->name, ".values", &count);
        assert_non_null(data);
        assert_int_equal(hone_blocks_bytes((hone_blocks)f, count), bytes);
        assert_int_equal(hone_blocks_of_gguf((uint32_t)about->gguf), f);
        float *y = hone_alloc((size_t)count, sizeof *y);
        hone_blocks_decode((hone_blocks)f, data, count, y);
        for (int64_t i = 0; i < count; i++)
            if (memcmp(y + i, values + i, sizeof *y) != 0) fail_msg("%s: element %d is %.9g, the package has %.9g", about->name, (int)i, (double)y[i], (double)values[i]);
        hone_free(data);
        hone_free(values);
        hone_free(y);
    }
    assert_int_equal(hone_blocks_of_gguf(4), HONE_BLOCKS_COUNT);   // a type that GGUF gave up
}

static void test_numbers_are_encoded_as_the_package_encodes_them(void **state)
{
    (void)state;
    int64_t count = 0, bytes = 0, formats = 0;
    float *x = load("", "x", &count);
    for (int f = 0; f < HONE_BLOCKS_COUNT; f++) {
        const hone_blocks_format *about = hone_blocks_about((hone_blocks)f);
        uint8_t *encoded = load(about->name, ".encoded", &bytes);
        if (!encoded) continue;
        assert_int_equal(hone_blocks_bytes((hone_blocks)f, count), bytes);
        uint8_t *data = hone_alloc((size_t)bytes, 1);
        hone_blocks_encode((hone_blocks)f, x, count, data);
        for (int64_t i = 0; i < bytes; i++)
            if (data[i] != encoded[i]) fail_msg("%s: byte %d of block %d is %d, the package has %d", about->name, (int)(i % (int64_t)about->bytes), (int)(i / (int64_t)about->bytes), data[i], encoded[i]);
        hone_free(encoded);
        hone_free(data);
        formats++;
    }
    assert_int_equal(formats, 8);
    hone_free(x);
}

// Root mean square of what encoding and decoding x changes, over that of x.
static double round_trip(hone_blocks f, const float *x, int64_t count)
{
    uint8_t *data = hone_alloc(hone_blocks_bytes(f, count), 1);
    float *y = hone_alloc((size_t)count, sizeof *y);
    double off = 0, all = 1e-300;
    hone_blocks_encode(f, x, count, data);
    hone_blocks_decode(f, data, count, y);
    for (int64_t i = 0; i < count; i++) {
        off += ((double)y[i] - x[i]) * ((double)y[i] - x[i]);
        all += (double)x[i] * x[i];
    }
    hone_free(data);
    hone_free(y);
    return sqrt(off / all);
}

// With n steps across a range of width r the error of an even spread is r / n / sqrt(12). Of normal numbers 32 span some 4 standard
// deviations, 16 some 3.5 at 2 x 1.77: q4_k 4.1 / 15 / 3.46, q5_k 4.1 / 31 / 3.46, q6_k 3.6 / 63 / 3.46. NF4 of 64 (2.4 deviations at its
// furthest): steps of 0.08 to 0.3 of that, 0.09. Scales of 6 and 8 bits add a little: 10 %.
static void test_errors_of_normal_weights_are_those_of_the_steps(void **state)
{
    (void)state;
    static const struct { hone_blocks blocks; double most; } row[] = {
        { HONE_BLOCKS_q4_k, 1.1 * 4.1 / 15 / 3.46 }, { HONE_BLOCKS_q5_k, 1.1 * 4.1 / 31 / 3.46 }, { HONE_BLOCKS_q6_k, 1.1 * 3.6 / 63 / 3.46 }, { HONE_BLOCKS_nf4, 1.1 * 0.09 },
    };
    enum { N = 64 * 256 };
    float *x = hone_alloc(N, sizeof *x);
    uint32_t bits = 1;
    for (int i = 0; i < N; i++) {   // twelve even numbers make a normal one, nearly
        float sum = -6;
        for (int k = 0; k < 12; k++) {
            bits = bits * 1664525u + 1013904223u;
            sum += (float)(bits >> 8) * 0x1p-24f;
        }
        x[i] = 0.02f * sum;
    }
    for (size_t r = 0; r < sizeof row / sizeof *row; r++) {
        double error = round_trip(row[r].blocks, x, N);
        print_message("%s: %.4f, at most %.4f\n", hone_blocks_about(row[r].blocks)->name, error, row[r].most);
        assert_true(error < row[r].most && error > 0.5 * row[r].most);
    }
    hone_free(x);
}

// All alike, all zero, one alone, all of one sign: within a step of the largest. Smaller numbers than 1e-3 have scales below 2^-20,
// which f16 holds to 6 % at best.
static void test_odd_blocks_lose_no_more_than_a_step(void **state)
{
    (void)state;
    static const struct { hone_blocks blocks; double step; } row[] = {
        { HONE_BLOCKS_q4_k, 1. / 15 }, { HONE_BLOCKS_q5_k, 1. / 31 }, { HONE_BLOCKS_q6_k, 1. / 31 }, { HONE_BLOCKS_nf4, 0.31 },
    };
    int64_t count = 0;
    float *x = load("", "x", &count);
    for (size_t r = 0; r < sizeof row / sizeof *row; r++)
        for (int64_t at = 0; at < count; at += 256) {
            float top = 0, y[256];
            uint8_t data[256];
            for (int i = 0; i < 256; i++) top = fmaxf(top, fabsf(x[at + i]));
            if (top > 0 && top < 1e-3f) continue;
            hone_blocks_encode(row[r].blocks, x + at, 256, data);
            hone_blocks_decode(row[r].blocks, data, 256, y);
            for (int i = 0; i < 256; i++)
                if (!(fabs((double)y[i] - x[at + i]) <= (double)top * row[r].step))
                    fail_msg("%s: element %d of %g comes back as %g; the largest beside it is %g", hone_blocks_about(row[r].blocks)->name, (int)at + i, (double)x[at + i], (double)y[i], (double)top);
        }
    hone_free(x);
}

static void test_nf4_is_qloras_table_and_takes_the_nearest(void **state)
{
    (void)state;
    int64_t count = 0;
    float *table = load("nf4", ".table", &count), x[64], y[64];
    uint8_t data[36];
    assert_int_equal(count, 16);
    for (int i = 0; i < 16; i++) assert_true(fabsf(table[i] - hone_nf4_value[i]) < 2e-6f);   // published from f32 quantiles
    for (int i = 0; i < 64; i++) x[i] = 3 * ((float)i * (2.0f / 63) - 1);
    hone_blocks_encode(HONE_BLOCKS_nf4, x, 64, data);
    hone_blocks_decode(HONE_BLOCKS_nf4, data, 64, y);
    for (int i = 0; i < 64; i++)
        for (int k = 0; k < 16; k++) assert_true(fabsf(x[i] - y[i]) <= fabsf(x[i] - 3 * hone_nf4_value[k]));
    assert_int_equal(data[4] >> 4, 0);     // the first element in the upper half, as bitsandbytes has it
    assert_int_equal(data[35] & 15, 15);
    hone_free(table);
}

static void test_halves_round_to_nearest_and_come_back(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float y = hone_f16_to_f32((uint16_t)h);
        if ((h & 0x7c00) == 0x7c00 && h & 1023) assert_true(hone_f32_to_f16(y) == ((h & 0x8000) | 0x7e00));
        else assert_int_equal(hone_f32_to_f16(y), h);
        if ((h & 0x7fff) >= 0x7bff) continue;
        float next = hone_f16_to_f32((uint16_t)(h + 1)), middle = 0.5f * (y + next);
        assert_int_equal(hone_f32_to_f16(middle), h + (h & 1));   // a tie goes to the even one
        assert_int_equal(hone_f32_to_f16(nextafterf(middle, next)), h + 1);
        assert_int_equal(hone_f32_to_f16(nextafterf(middle, y)), h);
    }
    assert_int_equal(hone_f32_to_f16(65519.99f), 0x7bff);
    assert_int_equal(hone_f32_to_f16(65520), 0x7c00);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_decode_as_the_package_decodes_them), cmocka_unit_test(test_numbers_are_encoded_as_the_package_encodes_them),
        cmocka_unit_test(test_errors_of_normal_weights_are_those_of_the_steps), cmocka_unit_test(test_odd_blocks_lose_no_more_than_a_step),
        cmocka_unit_test(test_nf4_is_qloras_table_and_takes_the_nearest), cmocka_unit_test(test_halves_round_to_nearest_and_come_back),
    };
    return cmocka_run_group_tests(tests, open_golden, close_golden);
}
