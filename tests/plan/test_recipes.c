// Every recipe of recipes/ is read and planned as it stands, with a token file (NAME-dpo.yaml: pairs of replies) in place of its data and, where it goes on from a
// model, with that model's config.json (recipes/configs) alone; and its shape has as many parameters as the published model,
// its factors (NAME-lora.yaml, NAME-qlora.yaml, NAME-dpo.yaml) as many as PEFT counts at rank 16 on all of the blocks' matrices; and the memory and
// speed in its head are those of that plan.
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/talks.h"
#include "support/verb.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

// Parameters as the model's page on the hub has them; of the factors; how many recipes begin with the name.
static const struct { const char *recipe, *config; int64_t parameters, factors; int recipes; } published[] = {
    { "smollm2-135m", "SmolLM2-135M", 134515008, 4884480, 4 }, { "smollm2-360m", "SmolLM2-360M", 361821120, 8683520, 3 },
    { "llama-3.2-1b", "Llama-3.2-1B", 1235814400, 11272192, 3 }, { "llama-3.1-8b", "Llama-3.1-8B", 8030261248, 41943040, 3 },
    { "mistral-7b", "Mistral-7B-v0.3", 7248023552, 41943040, 3 }, { "qwen2.5-0.5b", "Qwen2.5-0.5B", 494032768, 8798208, 3 },
    { "qwen2.5-1.5b", "Qwen2.5-1.5B", 1543714304, 18464768, 3 }, { "qwen2.5-7b", "Qwen2.5-7B", 7615616512, 40370176, 3 },
    { "qwen3-0.6b", "Qwen3-0.6B", 596049920, 10092544, 3 }, { "qwen3-4b", "Qwen3-4B", 4022468096, 33030144, 3 },
    { "gpt2-124m", NULL, 124439808, 0, 1 }, { "llama-15m", NULL, 13767552, 0, 1 },
};
enum { PUBLISHED = sizeof published / sizeof *published };

// "6.7 GiB of tensors, 8,631 tok/s" as tools/plan_recipes.py has put it into the head, for two threads too. Forms of weights differ by
// instruction set: without bf16 products memory is up to 0.6 % more and the roofline of one row 16 % lower.
static void check_head(const char *recipe, const char *path, const json_t *report)
{
    char *text = test_read(path), *planned = strstr(text, "# Planned for ");
    const double speed = json_number_value(json_object_get(report, "tokens_per_second"));
    double size = 0, tok = 0;
    char unit[4] = "";
    if (planned) {
        char *at = strstr(planned, "an estimate): "), *end = strstr(planned, " tok/s");
        assert_true(at && end && sscanf(at, "an estimate): %lf %3s", &size, unit) == 2);
        for (char *c = strstr(at, "tensors, ") + strlen("tensors, "); c < end; c++)
            if (*c != ',') tok = 10 * tok + (*c - '0');
        const double bytes = size * (strcmp(unit, "GiB") ? 0x1p20 : 0x1p30), is = json_number_value(json_object_get(report, "arena_bytes"));
        if (fabs(is / bytes - 1) > 0.02) fail_msg("recipes/%s.yaml says %.4g %s of tensors, the plan %.0f bytes: run tools/plan_recipes.py", recipe, size, unit, is);
        if (fabs(speed / tok - 1) > 0.25) fail_msg("recipes/%s.yaml says %.0f tok/s, the plan %.0f: run tools/plan_recipes.py", recipe, tok, speed);
    }
    hone_free(text);
}

static void plan(const char *recipe, const char *config, int64_t parameters, int64_t trained)
{
    const bool pairs = strstr(recipe, "-dpo");
    char path[512], model[512], data[512], *output;
    static uint16_t ids[50000];
    snprintf(data, sizeof data, "%s", test_path(pairs ? "pairs.jsonl" : "tokens.u16"));
    if (hone_file_write(test_path("tokens.u16"), ids, sizeof ids)) fail_msg("%s", hone_error());
    snprintf(path, sizeof path, HONE_SOURCE_DIR "/recipes/%s.yaml", recipe);
    snprintf(model, sizeof model, "model_name_or_path=" HONE_SOURCE_DIR "/recipes/configs/%s", config ? config : "");
    char *dataset = hone_format("dataset=%s", data), *tokenizer = hone_format("tokenizer=%s", test_folder()), *output_dir = hone_format("output_dir=%s", test_path("run"));
    const char *const command[] = { "plan", path, dataset, "threads=2", "--on", "xeon-8480", "--json", output_dir, config ? model : NULL, pairs ? tokenizer : NULL, NULL };
    if (verb(&output, command)) fail_msg("%s: %s", recipe, output);
    json_t *report;
    if (hone_json_parse(recipe, output, strlen(output), &report)) fail_msg("%s: %s", hone_error(), output);
    json_int_t count = json_integer_value(json_object_get(report, "parameters"));
    if (count != parameters) fail_msg("%s: %lld parameters, the published model has %lld", recipe, (long long)count, (long long)parameters);
    count = json_integer_value(json_object_get(report, "trained_parameters"));
    if (count != trained) fail_msg("%s: %lld numbers are trained, not %lld", recipe, (long long)count, (long long)trained);
    check_head(recipe, path, report);
    json_decref(report);
    hone_free(output);
    hone_free(dataset);
    hone_free(tokenizer);
    hone_free(output_dir);
}

static void test_every_recipe_plans_at_its_published_size(void **state)
{
    (void)state;
    char **names;
    int64_t count;
    int seen[PUBLISHED] = { 0 };
    test_talk_tokenizer();
    test_put("pairs.jsonl", "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}\n");
    if (hone_dir_list(HONE_SOURCE_DIR "/recipes", &names, &count)) fail_msg("%s", hone_error());
    for (int64_t i = 0; i < count; i++) {
        char *end = strstr(names[i], ".yaml");
        if (end && strcmp(names[i], "demo.yaml")) { // the demo has its own test, make demo
            int k = 0;
            *end = 0;
            static const char *const of_factors[] = { "-lora", "-qlora", "-dpo" };
            const char *suffix = NULL;
            for (int s = 0; s < 3 && !suffix; s++) suffix = strstr(names[i], of_factors[s]);
            const size_t length = suffix ? (size_t)(suffix - names[i]) : strlen(names[i]);
            while (k < PUBLISHED && (strlen(published[k].recipe) != length || strncmp(published[k].recipe, names[i], length))) k++;
            if (k == PUBLISHED) fail_msg("recipes/%s.yaml is not in this test's table", names[i]);
            plan(names[i], published[k].config, published[k].parameters, suffix ? published[k].factors : published[k].parameters);
            seen[k]++;
        }
        hone_free(names[i]);
    }
    hone_free(names);
    for (int k = 0; k < PUBLISHED; k++)
        if (seen[k] != published[k].recipes) fail_msg("%d recipes of %s, not %d", seen[k], published[k].recipe, published[k].recipes);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_every_recipe_plans_at_its_published_size) };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
