// Random templates and those of models that are here, live against transformers' Jinja2: the same text, or refused by both.
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "base/file.h"
#include "text/jinja.h"

#define TOKENIZERS HONE_SOURCE_DIR "/../shared/data/tokenizers"
enum { RANDOM_TEMPLATES = 400, SEED = 20 };

static void test_random_and_real_templates_equal_jinja2(void **state)
{
    (void)state;
    if (!test_python_present() || !test_python_has("transformers")) {
        print_message("skipped: HONE_PYTHON names no Python with transformers\n");
        skip();
    }
    char command[2048], real[1024] = "";
    bool shared = hone_dir_exists(TOKENIZERS);
    if (shared) snprintf(real, sizeof real, "'" TOKENIZERS "/qwen3/tokenizer_config.json' '" TOKENIZERS "/deepseek_v3/tokenizer_config.json'");
    else print_message("skipped: no ../shared/data: only random templates\n");
    snprintf(command, sizeof command, "TZ=UTC '%s' '" HONE_SOURCE_DIR "/tools/compare_jinja.py' '%s' %d %d %s", getenv("HONE_PYTHON"), test_path("cases.json"), RANDOM_TEMPLATES, SEED, real);
    assert_int_equal(system(command), 0);
    assert_int_equal(setenv("TZ", "UTC", 1), 0);
    json_t *cases, *row;
    size_t i, rendered = 0;
    assert_int_equal(hone_json_load(test_path("cases.json"), &cases), HONE_OK);
    json_array_foreach(cases, i, row) {
        const json_t *template = json_object_get(row, "template"), *want = json_object_get(row, "output");
        hone_jinja *jinja = NULL;
        hone_buffer out = { 0 };
        hone_status status = hone_jinja_parse("t", json_string_value(template), json_string_length(template), &jinja);
        if (!status) status = hone_jinja_render(jinja, json_object_get(row, "variables"), (time_t)json_integer_value(json_object_get(row, "now")), NULL, &out);
        bool same = want ? !status && out.size == json_string_length(want) && !memcmp(out.data ? out.data : "", json_string_value(want), out.size) : status != HONE_OK;
        if (!same) fail_msg("%s\n%s\nJinja2: %s\nhone: %s", json_string_value(json_object_get(row, "name")), json_string_value(template),
                            json_string_value(want ? want : json_object_get(row, "error")), status ? hone_error() : out.data);
        rendered += want != NULL;
        hone_jinja_free(jinja);
        hone_buffer_release(&out);
    }
    assert_true(rendered > RANDOM_TEMPLATES / 2);
    json_decref(cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_random_and_real_templates_equal_jinja2) };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
