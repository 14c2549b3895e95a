// What is made of the one table of verbs and keys says all of it: man pages, completion that shells understand, a schema,
// the references in docs/.
#include "base/file.h"
#include "base/json.h"
#include "cli/describe.h"
#include "recipe/recipe.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/verb.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *said(const char *const *argument)
{
    char *output;
    int code = verb(&output, argument);
    if (code) fail_msg("hone %s: exit code %d: %s", argument[0], code, output);
    return output;
}

static void must_hold(const char *where, const char *text, const char *what)
{
    if (!strstr(text, what)) fail_msg("%s does not speak of %s", where, what);
}

// Dashes as roff writes them.
static char *roff(const char *text)
{
    hone_buffer out = { 0 };
    for (; *text; text++) assert_int_equal(hone_buffer_print(&out, *text == '-' ? "\\-" : "%c", *text), HONE_OK);
    return out.data;
}

static void test_man_pages_hold_every_verb_option_and_key(void **state)
{
    (void)state;
    hone_cli_text *text;
    int count;
    assert_int_equal(hone_cli_collect_texts(&text, &count), HONE_OK);
    assert_true(count > 10);
    char *folder = hone_strdup(test_path("man"));
    hone_free(said((const char *[]){ "man", "--output", folder, NULL }));
    for (int i = 0; i < count; i++) {
        char *path = hone_format("%s/man1/hone-%s.1", folder, text[i].verb), *page = test_read(path);
        assert_non_null(strstr(page, ".TH HONE-"));
        for (int o = 0; o < text[i].options; o++) {
            char *dashed = hone_format("--%s", text[i].option[o].name), *option = roff(dashed);
            must_hold(path, page, option);
            if (!strcmp(text[i].option[o].name, "kv-cache")) { // its values are those of the recipe's key
                hone_buffer values = { 0 };
                assert_int_equal(hone_key_print_kind(&hone_key_table[HONE_KEY_kv_cache], &values), HONE_OK);
                assert_string_equal(text[i].option[o].value_name, values.data);
                hone_buffer_release(&values);
            }
            hone_free(dashed);
            hone_free(option);
        }
        hone_free(page);
        hone_free(path);
    }
    char *path = hone_format("%s/man5/hone-recipe.5", folder), *page = test_read(path);
    for (int k = 0; k < HONE_KEY_COUNT; k++) must_hold(path, page, hone_key_table[k].name);
    hone_free(page);
    hone_free(path);
    if (access("/usr/bin/groff", X_OK) == 0) { // groff finds nothing to warn of
        char *command = hone_format("for f in %s/man?/*; do groff -man -Tutf8 -ww \"$f\" 2>&1 > /dev/null; done", folder);
        FILE *out = popen(command, "r");
        char warning[256];
        if (fgets(warning, sizeof warning, out)) fail_msg("groff: %s", warning);
        pclose(out);
        hone_free(command);
    } else {
        print_message("skipped: no groff\n");
    }
    hone_free(folder);
    hone_cli_free_texts(text, count);
}

// Standard output of a shell that reads `script`.
static char *shell(const char *shell_path, const char *script)
{
    char *path = hone_strdup(test_path("script")), *command = hone_format("%s %s 2>&1", shell_path, path);
    assert_int_equal(hone_file_write(path, script, strlen(script)), HONE_OK);
    hone_buffer out = { 0 };
    FILE *pipe = popen(command, "r");
    char part[1024];
    for (size_t n; (n = fread(part, 1, sizeof part, pipe)) > 0;) assert_int_equal(hone_buffer_append(&out, part, n), HONE_OK);
    assert_int_equal(hone_buffer_append(&out, "", 0), HONE_OK);
    pclose(pipe);
    hone_free(path);
    hone_free(command);
    return out.data ? out.data : hone_strdup("");
}

static char *write_completion(const char *name)
{
    char *script = said((const char *[]){ "completion", name, NULL }), *path = hone_strdup(test_path(name));
    assert_int_equal(hone_file_write(path, script, strlen(script)), HONE_OK);
    hone_free(script);
    return path;
}

static void test_bash_completes(void **state)
{
    (void)state;
    static const struct { const char *words, *reply; } cases[] = {
        { "hone pretr", "pretrain" }, { "hone runs ''", "list show diff import" }, { "hone tokenizer tra", "train transplant" }, { "hone tokenizer transplant --a", "--add" }, { "hone runs --so", "--sort" }, { "hone runs show --d", "--dir" }, { "hone report --format ''", "text md json" },
        { "hone pretrain a.yaml learning_r", "learning_rate=" }, { "hone pretrain a.yaml lr_scheduler_type = co", "cosine constant" },
        { "hone plan a.yaml neat_packing =", "true false" }, { "hone board --p", "--port" },
    };
    char *path = write_completion("bash");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *script = hone_format("cd /\nsource %s\nCOMP_WORDS=(%s)\nCOMP_CWORD=$((${#COMP_WORDS[@]} - 1))\n_hone\necho \"${COMPREPLY[*]}\"\n", path, cases[i].words), *out = shell("bash", script);
        char *wanted = hone_format("%s\n", cases[i].reply);
        if (strcmp(out, wanted)) fail_msg("%s: %s, not %s", cases[i].words, out, cases[i].reply);
        hone_free(wanted);
        hone_free(script);
        hone_free(out);
    }
    hone_free(path);
}

static void test_zsh_and_fish_complete(void **state)
{
    (void)state;
    char *path = write_completion("zsh");
    if (access("/usr/bin/zsh", X_OK) == 0) { // its functions are called with zsh's own completers replaced by echoes
        char *script = hone_format("compdef() { :; }\n_describe() { print -r -- ${(P)4}; }\n_arguments() { print -rl -- \"$@\"; }\ncompadd() { print -r -- \"$@\"; }\ncompset() { :; }\n_files() { :; }\n"
                                   "source %s\nwords=(hone pre); CURRENT=2; _hone\nwords=(hone runs show --d); CURRENT=4; _hone\nwords=(hone ckpt v); CURRENT=3; _hone\nPREFIX=lr_scheduler_type=; _hone_recipe\n", path), *out = shell("zsh -f", script);
        must_hold("zsh", out, "pretrain:trains a model as a recipe says");
        must_hold("zsh", out, "verify:is every byte as it was written");
        must_hold("zsh", out, "--json[print one JSON object, all events in it]");
        must_hold("zsh", out, "-X lr_scheduler_type cosine linear wsd constant");
        hone_free(script);
        hone_free(out);
    } else {
        print_message("skipped: no zsh\n");
    }
    hone_free(path);
    path = write_completion("fish");
    if (access("/usr/bin/fish", X_OK) == 0) {
        char *script = hone_format("source %s\ncomplete -C 'hone pre'\ncomplete -C 'hone runs show --js'\ncomplete -C 'hone ckpt v'\ncomplete -C 'hone report --format '\ncomplete -C 'hone pretrain a.yaml learning_r'\n"
                                   "complete -C 'hone plan a.yaml lr_scheduler_type=cos'\n", path), *out = shell("fish", script);
        static const char *const lines[] = { "pretrain\ttrains a model", "--json\tprint one JSON object", "verify\tis every byte as it was written", "md\t", "learning_rate=\tpeak", "lr_scheduler_type=cosine" };
        for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) must_hold("fish", out, lines[i]);
        hone_free(script);
        hone_free(out);
    } else {
        print_message("skipped: no fish\n");
    }
    hone_free(path);
}

static void test_schema_describes_every_key(void **state)
{
    (void)state;
    char *text = said((const char *[]){ "schema", NULL });
    json_t *schema;
    assert_int_equal(hone_json_parse("schema", text, strlen(text), &schema), HONE_OK);
    const json_t *properties = json_object_get(schema, "properties");
    assert_int_equal(json_object_size(properties), HONE_KEY_COUNT);
    for (int k = 0; k < HONE_KEY_COUNT; k++) assert_non_null(json_object_get(json_object_get(properties, hone_key_table[k].name), "description"));
    assert_true(json_is_false(json_object_get(schema, "additionalProperties")));
    json_decref(schema);
    hone_free(text);
}

static void check_made(const char *file, const char *const *argument)
{
    char *path = hone_format("%s/docs/%s", HONE_SOURCE_DIR, file), *stored = test_read(path), *made = said(argument);
    if (strcmp(stored, made)) fail_msg("docs/%s is not what the program says now: make docs", file);
    hone_free(path);
    hone_free(stored);
    hone_free(made);
}

static void test_references_in_docs_are_up_to_date(void **state)
{
    (void)state;
    check_made("keys.md", (const char *[]){ "schema", "--format", "md", NULL });
    check_made("verbs.md", (const char *[]){ "man", "--format", "md", NULL });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_man_pages_hold_every_verb_option_and_key), cmocka_unit_test(test_bash_completes), cmocka_unit_test(test_zsh_and_fish_complete),
        cmocka_unit_test(test_schema_describes_every_key), cmocka_unit_test(test_references_in_docs_are_up_to_date),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
