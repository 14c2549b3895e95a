// test_peer_gpu.c: bench/peer_gpu.py, the PyTorch side of the figures on a GPU: its logic on small shapes, on the CPU.
#include "base/json.h"
#include "base/memory.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include <stdlib.h>
#include <string.h>

static double number(const json_t *row, const char *key) { return json_number_value(json_object_get(row, key)); }

// The models are the published ones to the parameter; each case finds a best variant, all variants begin alike and learn.
static void test_every_case_runs_and_learns(void **state)
{
    (void)state;
    if (!test_python_has("torch")) {    // of HONE_PYTHON
        print_message("skipped: the PyTorch side of the GPU's figures, without torch\n");
        skip();
    }
    char *command = hone_format("'%s' '" HONE_SOURCE_DIR "/bench/peer_gpu.py' --device cpu --tiny --eager --json '%s' > '%s' 2>&1", getenv("HONE_PYTHON"),
                                test_path("peer.json"), test_path("peer.log"));
    assert_int_equal(system(command), 0);
    hone_free(command);
    json_t *report = NULL, *found;
    size_t i, k;
    must(hone_json_load(test_path("peer.json"), &report));
    const json_t *parameters = json_object_get(report, "parameters"), *cases = json_object_get(report, "cases");
    assert_true(number(parameters, "gpt2") == 124439808 && number(parameters, "1b") == 1235814400 && number(parameters, "8b") == 8030261248);
    assert_int_equal(json_array_size(cases), 5 + test_python_has("transformers") + (test_python_has("transformers") && test_python_has("peft")));
    json_array_foreach(cases, i, found) {
        const json_t *tried = json_object_get(found, "tried"), *best = json_object_get(found, "best"), *one, *first = json_array_get(tried, 0);
        const size_t least = strcmp(json_string_value(json_object_get(found, "name")), "attention") ? 2 : 1; // on a CPU it has one kernel
        assert_true(json_array_size(tried) >= least && number(best, "tokens_per_s") > 0);
        json_array_foreach(tried, k, one) {
            assert_true(number(one, "tokens_per_s") <= number(best, "tokens_per_s"));
            if (!json_object_get(one, "first_loss")) continue;   // a generation
            assert_true(number(one, "last_loss") < number(one, "first_loss"));
            const double apart = number(one, "first_loss") / number(first, "first_loss") - 1;   // each token's loss is of logits in bf16, some 4e-3 apart
            assert_true(apart > -4e-3 && apart < 4e-3);
        }
    }
    json_decref(report);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_every_case_runs_and_learns) };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
