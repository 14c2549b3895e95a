// bench_data.c: the data path's parts by themselves, each one JSON line.
//
//     bench_data loader ROW_TOKENS SET SET SET     a shuffled mixture of prepared sets into batches, one thread: tokens/s
//     bench_data encode TOKENIZER FILE...          the tokenizer alone on texts in memory, cut as `hone prepare` cuts them: MB/s
#include "base/cpu.h"
#include "data/documents.h"
#include "data/mixture.h"
#include "text/tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(void)
{
    fprintf(stderr, "bench_data: %s\n", hone_error());
    return 1;
}

static int bench_loader(int64_t T, char *const *path)
{
    enum { ROWS = 16 };
    const double least_s = 2.0;
    hone_recipe recipe;
    hone_mixture mixture;
    char *datasets = hone_format("datasets=[{path: %s, weight: 0.5, name: a}, {path: %s, weight: 0.3, name: b}, {path: %s, weight: 0.2, name: c}]", path[0], path[1], path[2]);
    if (!datasets || hone_recipe_load(&recipe, NULL, 1, &datasets) || hone_mixture_parse(&mixture, &recipe)) return fail();
    hone_loader_options common = { .split = HONE_SPLIT_TRAIN, .seed = 1, .window = T, .vocab = INT32_MAX, .isolation = true, .eos = -1 };
    if (hone_mixture_open(&mixture, &recipe, &common, ROWS)) return fail();
    size_t n = (size_t)(ROWS * T);
    hone_batch batch = { .ids = hone_alloc(n, 4), .target = hone_alloc(n, 4), .pos = hone_alloc(n, 4), .lo = hone_alloc(n, 4), .hi = hone_alloc(n, 4), .weight = hone_alloc(n, 4) };
    double first_s = 0;
    int64_t steps = 0, first_steps = (mixture.windows + ROWS - 1) / ROWS; // the first pass also checks every block's sum
    double begin = hone_clock_s();
    for (; steps < first_steps; steps++) if (hone_mixture_next(&mixture, ROWS, &batch)) return fail();
    first_s = hone_clock_s() - begin;
    begin = hone_clock_s();
    for (steps = 0; hone_clock_s() - begin < least_s; steps++) if (hone_mixture_next(&mixture, ROWS, &batch)) return fail();
    double seconds = hone_clock_s() - begin;
    printf("{\"bench\": \"loader\", \"row_tokens\": %" PRId64 ", \"tokens_per_second\": %.0f, \"first_pass_tokens_per_second\": %.0f, \"resident_mib\": %.1f}\n", T,
           (double)steps * (double)n / seconds, (double)first_steps * (double)n / first_s, (double)hone_memory_resident_bytes() / 1048576.0);
    return 0;
}

// Each thread into ids of its own: neighbours in one array would fight for cache lines.
static bool encode_all(const hone_tokenizer *tokenizer, const hone_document_batch *batch)
{
    bool bad = false;
    int threads = 1;
    if (hone_cpu_threads(&threads)) return false;
    #pragma omp parallel num_threads(threads)
    {
        hone_ids ids = { 0 };
        #pragma omp for schedule(dynamic, 1)
        for (int64_t d = 0; d < batch->count; d++) {
            ids.count = 0;
            if (hone_tokenizer_encode(tokenizer, batch->bytes.data + batch->document[d].offset, batch->document[d].size, 0, &ids)) bad = true;
        }
        hone_free(ids.data);
    }
    return !bad;
}

static int bench_encode(const char *tokenizer_path, const char *const *file, int n_files)
{
    hone_tokenizer *tokenizer;
    hone_inputs inputs;
    hone_template fields;
    hone_document_reader reader;
    hone_document_batch batch = { 0 };
    if (hone_tokenizer_load(tokenizer_path, &tokenizer) || hone_inputs_open(&inputs, file, n_files, "text") || hone_template_field(&fields, "text")) return fail();
    hone_document_options options = { &inputs, &fields, 64 << 10, NULL };
    if (hone_document_reader_open(&reader, &options, NULL) || hone_document_reader_next(&reader, &batch, (size_t)1 << 40)) return fail();
    double begin = hone_clock_s(); // once, from cold caches of words, as `hone prepare` meets the text
    if (!encode_all(tokenizer, &batch)) return fail();
    double seconds = hone_clock_s() - begin;
    printf("{\"bench\": \"encode\", \"mb_per_second\": %.2f}\n", (double)batch.bytes.size / 1e6 / seconds);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "loader") == 0) return bench_loader(atoll(argv[2]), argv + 3);
    if (argc > 3 && strcmp(argv[1], "encode") == 0) return bench_encode(argv[2], (const char *const *)argv + 3, argc - 3);
    fprintf(stderr, "bench_data loader ROW_TOKENS SET SET SET | bench_data encode TOKENIZER FILE...\n");
    return 2;
}
