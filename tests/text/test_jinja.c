// Templates of chat models: rendered as transformers renders them (tests/golden/chat), told apart by message, refused in words, bounded.
#include "support/cmocka_all.h"
#include "support/fault.h"
#include "support/folder.h"
#include "text/jinja.h"

#define GOLDEN HONE_SOURCE_DIR "/tests/golden/chat"

static hone_status render(const char *template, const char *variables, hone_jinja_trace *trace, hone_buffer *out)
{
    hone_jinja *jinja;
    json_t *json;
    assert_int_equal(hone_json_parse("variables", variables, strlen(variables), &json), HONE_OK);
    hone_status status = hone_jinja_parse("t.jinja", template, strlen(template), &jinja);
    if (!status) status = hone_jinja_render(jinja, json, 0, trace, out);
    hone_jinja_free(jinja);
    json_decref(json);
    return status;
}

static void check_case(const json_t *row, const json_t *variables, const char *template)
{
    const json_t *want = json_object_get(row, "output"), *own = json_object_get(row, "variables");
    hone_jinja *jinja = NULL;
    hone_buffer out = { 0 };
    hone_status status = hone_jinja_parse("golden", template, strlen(template), &jinja);
    if (!status) status = hone_jinja_render(jinja, own ? own : variables, (time_t)json_integer_value(json_object_get(row, "now")), NULL, &out);
    const char *name = json_string_value(json_object_get(row, "name"));
    if (!want && !status) fail_msg("%s\n%s\nshould be refused (%s), but gave\n%s", name, template, json_string_value(json_object_get(row, "error")), out.data);
    if (want && status) fail_msg("%s\n%s\n%s", name, template, hone_error());
    if (want && (out.size != json_string_length(want) || memcmp(out.data ? out.data : "", json_string_value(want), out.size)))
        fail_msg("%s\n%s\nwanted\n%s\ngot\n%s", name, template, json_string_value(want), out.data);
    hone_jinja_free(jinja);
    hone_buffer_release(&out);
}

static void test_the_golden_set_renders_as_in_transformers(void **state)
{
    (void)state;
    json_t *all, *row;
    size_t i;
    assert_int_equal(setenv("TZ", "UTC", 1), 0);
    assert_int_equal(hone_json_load(GOLDEN "/cases.json", &all), HONE_OK);
    json_array_foreach(json_object_get(all, "cases"), i, row) {
        const char *template = json_string_value(json_object_get(row, "template"));
        bool file = strlen(template) > 6 && !strcmp(template + strlen(template) - 6, ".jinja");
        char path[512], *text = NULL;
        snprintf(path, sizeof path, GOLDEN "/%s", file ? template : "");
        if (file) text = test_read(path);
        check_case(row, json_object_get(all, "variables"), text ? text : template);
        hone_free(text);
    }
    assert_true(i > 400);
    json_decref(all);
}

static void test_an_error_names_the_line_and_what_to_do(void **state)
{
    (void)state;
    static const struct { const char *template, *say[2]; } wrong[] = {
        { "a\n{% if x %}\nb", { "t.jinja: line 3", "ends before {% endif %} of the block that began in line 2" } },
        { "a\n{{ x", { "t.jinja: line 2", "without its }}" } },
        { "{{ 1 +\n }}", { "line 2", "an expression expected" } },
        { "\n\n{% import 'a' %}", { "line 3", "{% import %} is not supported" } },
        { "{# never", { "line 1", "a comment" } },
        { "{{ 'a }}", { "line 1", "closing quote" } },
        { "{{ a ? b }}", { "line 1", "the character ?" } },
        { "{{ (1] }}", { "line 1", "without its opening bracket" } },
        { "{{ 99999999999999999999 }}", { "line 1", "64 bits" } },
        { "x\n{{ nothing.content }}", { "t.jinja: line 2", "'nothing' is undefined" } },
        { "{{ 'a'|shout }}", { "filter 'shout' is not supported", "supported: abs" } },
        { "{{ 1 is prime }}", { "test 'prime' is not supported", "supported: defined" } },
        { "{{ 'a' + 1 }}", { "+ between 'str' and 'int'", "~ joins" } },
        { "{{ raise_exception('roles\\nalternate') }}", { "the template refuses these messages", "alternate" } },
        { "{{ 'a'.replace('b') }}", { "'replace' takes 2 to 3 arguments", "1 were given" } },
        { "{% break %}", { "line 1", "must stand in a loop" } },
        { "{{ 9223372036854775807 + 1 }}", { "line 1", "64 bits" } } };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        hone_buffer out = { 0 };
        hone_error_clear();
        assert_int_equal(render(wrong[i].template, "{}", NULL, &out), HONE_FAILED);
        for (int k = 0; k < 2; k++) if (!strstr(hone_error(), wrong[i].say[k])) fail_msg("%s\ndoes not say \"%s\":\n%s", wrong[i].template, wrong[i].say[k], hone_error());
        assert_int_equal(out.size, 0);
        hone_buffer_release(&out);
    }
}

static void test_templates_without_end_are_stopped(void **state)
{
    (void)state;
    static const struct { const char *template, *say; } endless[] = {
        { "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "nested more than" },
        { "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}", "MiB" },
        { "{% set n = namespace(t='aaaaaaaaaaaaaaaa') %}{% for i in range(60) %}{% set n.t = n.t + n.t %}{% endfor %}", "MiB" },
        { "{{ 'a' * 1000000000000 }}", "MiB" },
        { "{% for i in range(90000) %}{{ 'aaaaaaaaaa' * 1000 }}{% endfor %}", "MiB" },
        { "{{ range(1000000000) }}", "100000 numbers" },
        { "{% set n = namespace(t=[]) %}{% set k = namespace(t=[]) %}{% for i in range(50000) %}{% set n.t = [n.t] %}{% set k.t = [k.t] %}{% endfor %}{{ n.t == k.t }}{{ n.t < k.t }}", "nested" },
        { "{% set n = namespace(t=[]) %}{% for i in range(50000) %}{% set n.t = [n.t] %}{% endfor %}{{ n.t }}", "nested" },
        { "{% set n = namespace(t=[]) %}{% for i in range(50000) %}{% set n.t = [n.t] %}{% endfor %}{{ n.t|tojson }}", "nested" } };
    for (size_t i = 0; i < sizeof endless / sizeof *endless; i++) {
        hone_buffer out = { 0 };
        assert_int_equal(render(endless[i].template, "{}", NULL, &out), HONE_FAILED);
        if (!strstr(hone_error(), endless[i].say)) fail_msg("%s: %s", endless[i].template, hone_error());
        hone_buffer_release(&out);
    }
    char deep[4096];
    hone_buffer out = { 0 };
    memset(deep, '(', sizeof deep - 1);
    memcpy(deep, "{{", 2);
    deep[sizeof deep - 1] = 0;
    assert_int_equal(render(deep, "{}", NULL, &out), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "too deep"));
    hone_buffer_release(&out);
}

static void test_output_is_told_apart_by_message_and_by_generation_block(void **state)
{
    (void)state;
    hone_jinja_trace trace = { .list = "messages" };
    hone_buffer out = { 0 };
    assert_int_equal(hone_buffer_append(&out, "before|", 7), HONE_OK); // places count from where the text begins
    assert_int_equal(render("<s>{% for m in messages[1:] %}{% for n in messages %}{% endfor %}[{{ m }}{% generation %}é{% endgeneration %}]{% endfor %}{% for m in messages %}{% endfor %}end",
                            "{\"messages\": [\"a\", \"bb\", \"c\"]}", &trace, &out), HONE_OK);
    assert_string_equal(out.data, "before|<s>[bbé][cé]end");
    assert_int_equal(trace.n_turns, 2);
    assert_int_equal(trace.turn[0].item, 1);
    assert_int_equal(trace.turn[0].from, 3);
    assert_int_equal(trace.turn[0].to, 9);
    assert_int_equal(trace.turn[1].item, 2);
    assert_int_equal(trace.turn[1].from, 9);
    assert_int_equal(trace.n_generations, 2);
    assert_int_equal(trace.generation[1].from, 11);
    assert_int_equal(trace.generation[1].to, 13);
    hone_jinja_trace_release(&trace);
    hone_buffer_release(&out);
}

static void test_each_failed_allocation_is_reported_and_leaks_nothing(void **state)
{
    (void)state;
    static const char template[] = "{% macro wrap(a, b=[1]) %}<{{ a|upper }}{{ b|tojson }}>{% endmacro %}{% for m in messages if m %}{{ wrap(m.role) }}{% set x %}{{ m }}{% endset %}"
                                   "{{ x|replace('a', 'b')|indent }}{{ messages|sort(attribute='role')|map(attribute='role')|join(', ') }}{{ '%s' % x }}{% endfor %}";
    int64_t n = 1, calls;
    do {
        hone_buffer out = { 0 };
        hone_jinja *jinja = NULL;
        json_t *json = json_pack("{s:[{s:s}, {s:s}]}", "messages", "role", "user", "role", "assistant");
        hone_test_fail(HONE_CALL_ALLOC, n);
        hone_status status = hone_jinja_parse("t", template, sizeof template - 1, &jinja);
        if (!status) status = hone_jinja_render(jinja, json, 0, NULL, &out);
        calls = hone_test_fail_end();
        assert_int_equal(status, calls < n ? HONE_OK : HONE_FAILED);
        hone_jinja_free(jinja);
        json_decref(json);
        hone_buffer_release(&out);
    } while (calls >= n++);
    assert_true(n > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_the_golden_set_renders_as_in_transformers), cmocka_unit_test(test_an_error_names_the_line_and_what_to_do),
                                        cmocka_unit_test(test_templates_without_end_are_stopped), cmocka_unit_test(test_output_is_told_apart_by_message_and_by_generation_block),
                                        cmocka_unit_test(test_each_failed_allocation_is_reported_and_leaks_nothing) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
