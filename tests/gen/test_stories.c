// The trained model stories260K: greedy ids and losses as float64 PyTorch gives them, decode's log-probabilities as score's.
#include "base/file.h"
#include "base/json.h"
#include "gen/evaluate.h"
#include "gen/generate.h"
#include "gen/lines.h"
#include "support/cmocka_all.h"
#include <math.h>

#define STORIES HONE_SOURCE_DIR "/../shared/data/weights/stories260K"
static const char *const backends[] = { "ref", "cpu" };
enum { BACKENDS = 2, CONTEXT = 128 };

static json_t *golden;

static int load_golden(void **state)
{
    (void)state;
    return hone_json_load(STORIES "/golden_logits.json", &golden) ? -1 : 0;
}

static int free_golden(void **state)
{
    (void)state;
    json_decref(golden);
    return 0;
}

static int64_t read_ids(const char *key, int32_t *ids)
{
    const json_t *list = json_object_get(golden, key);
    for (size_t i = 0; i < json_array_size(list); i++) ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    return (int64_t)json_array_size(list);
}

static void open_decode(hone_runner *r, hone_generator *g, hone_train_io *score, const char *backend, int64_t rows, int64_t slots)
{
    hone_decode_io io;
    if (hone_runner_open(r, STORIES "/hf")) fail_msg("%s", hone_error());
    assert_int_equal(hone_model_build_score(&r->model, 1, CONTEXT, score), HONE_OK);
    assert_int_equal(hone_model_build_decode(&r->model, rows, slots, slots, CONTEXT, &io), HONE_OK);
    r->backend = backend;
    if (hone_runner_start(r)) fail_msg("%s", hone_error());
    assert_int_equal(hone_generator_open(g, &r->session, &r->model, &io), HONE_OK);
}

static void test_forty_greedy_ids_are_those_of_pytorch(void **state)
{
    (void)state;
    int32_t prompt[64], expected[64];
    int64_t n = read_ids("ids", prompt), all = read_ids("greedy_40", expected);
    assert_int_equal(all, n + 40);
    for (int b = 0; b < BACKENDS; b++) {
        hone_runner r;
        hone_generator g;
        hone_train_io score;
        open_decode(&r, &g, &score, backends[b], 8, 1);
        hone_ids encoded = { 0 };
        const char *text = json_string_value(json_object_get(golden, "prompt"));
        assert_int_equal(hone_tokenizer_encode(r.tokenizer, text, strlen(text), HONE_ENCODE_SPECIAL, &encoded), HONE_OK);
        assert_int_equal(encoded.count, n);
        assert_memory_equal(encoded.data, prompt, (size_t)n * sizeof *prompt);
        hone_request request = { .prompt = encoded.data, .n_prompt = n, .max_new = 40, .sampling = HONE_SAMPLING_GREEDY };
        assert_int_equal(hone_generator_run(&g, &request, 1, NULL), HONE_OK);
        assert_int_equal(request.n_ids, all);
        assert_memory_equal(request.ids, expected, (size_t)all * sizeof *expected);
        hone_request_release(&request);
        hone_free(encoded.data);
        hone_generator_close(&g);
        hone_runner_close(&r);
    }
}

static void test_sampled_stories_score_as_they_were_decoded(void **state)
{
    (void)state;
    enum { COUNT = 12 };
    for (int b = 0; b < BACKENDS; b++) {
        hone_runner r;
        hone_generator g;
        hone_scorer scorer;
        hone_train_io score;
        hone_request request[COUNT];
        float logprob[COUNT][CONTEXT];
        int32_t prompt[64];
        int64_t n = read_ids("ids", prompt);
        bool ran;
        open_decode(&r, &g, &score, backends[b], 16, 5);
        for (int i = 0; i < COUNT; i++)
            request[i] = (hone_request){ .prompt = prompt, .n_prompt = 1 + i % n, .max_new = 20 + i * 7, .key = (uint64_t)i, .want_logprobs = true,
                                         .sampling = { .temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 9 } };
        assert_int_equal(hone_generator_run(&g, request, COUNT, NULL), HONE_OK);
        assert_int_equal(hone_scorer_open(&scorer, &r.session, &r.model, &score), HONE_OK);
        for (int i = 0; i < COUNT; i++)
            assert_int_equal(hone_scorer_add(&scorer, &(hone_score_item){ request[i].ids, request[i].n_ids, logprob[i] }, "here", &ran), HONE_OK);
        hone_scorer_flush(&scorer);
        for (int i = 0; i < COUNT; i++) {
            for (int64_t k = request[i].n_prompt; k < request[i].n_ids; k++)
                assert_float_equal(logprob[i][k], request[i].logprob[k - request[i].n_prompt], 1e-4);
            hone_request_release(&request[i]);
        }
        hone_scorer_close(&scorer);
        hone_generator_close(&g);
        hone_runner_close(&r);
    }
}

// Mean over each of the first ten stories, cut to 256 tokens, as the golden file has them.
static void test_losses_of_stories_are_those_of_pytorch(void **state)
{
    (void)state;
    const json_t *expected = json_object_get(json_object_get(golden, "tinystories_first100_ctx256"), "per_story_first10");
    static const char *const keys[] = { "text", NULL };
    hone_runner r;
    hone_train_io io;
    hone_scorer scorer;
    hone_lines lines;
    hone_line line;
    hone_status status;
    assert_int_equal(hone_runner_open(&r, STORIES "/hf"), HONE_OK);
    assert_int_equal(hone_model_build_score(&r.model, 1, 256, &io), HONE_OK);
    if (hone_runner_start(&r)) fail_msg("%s", hone_error());
    assert_int_equal(hone_scorer_open(&scorer, &r.session, &r.model, &io), HONE_OK);
    assert_int_equal(hone_lines_open(&lines, HONE_SOURCE_DIR "/../shared/data/text/tinystories/tinystories_1000.jsonl"), HONE_OK);
    for (size_t i = 0; i < json_array_size(expected); i++) {
        hone_ids ids = { 0 };
        const char *text;
        float logprob[256];
        bool ran;
        assert_true(hone_lines_next(&lines, &line, &status));
        assert_int_equal(hone_line_content(&line, keys, &text, &ids), HONE_OK);
        assert_int_equal(hone_tokenizer_encode(r.tokenizer, text, strlen(text), HONE_ENCODE_SPECIAL, &ids), HONE_OK);
        if (ids.count > 256) ids.count = 256;
        assert_int_equal(hone_scorer_add(&scorer, &(hone_score_item){ ids.data, ids.count, logprob }, line.where, &ran), HONE_OK);
        hone_scorer_flush(&scorer);
        double sum = 0;
        for (int64_t k = 1; k < ids.count; k++) sum -= (double)logprob[k];
        assert_float_equal(sum / (double)(ids.count - 1), json_real_value(json_array_get(expected, i)), 2e-5);
        hone_free(ids.data);
        hone_line_release(&line);
    }
    hone_lines_close(&lines);
    hone_scorer_close(&scorer);
    hone_runner_close(&r);
}

int main(void)
{
    if (!hone_dir_exists(STORIES)) {
        printf("skipped: no ../shared/data\n");
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forty_greedy_ids_are_those_of_pytorch), cmocka_unit_test(test_sampled_stories_score_as_they_were_decoded),
        cmocka_unit_test(test_losses_of_stories_are_those_of_pytorch),
    };
    return cmocka_run_group_tests(tests, load_golden, free_golden);
}
