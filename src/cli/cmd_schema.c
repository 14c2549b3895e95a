// cmd_schema.c: hone schema: every key of a recipe, for editors, for people, for docs/keys.md.
#include "base/memory.h"
#include "cli/args.h"
#include "cli/verbs.h"
#include "recipe/recipe.h"
#include <stdio.h>
#include <string.h>

static const char *const head =
    "# Recipe keys\n\nMade by `hone schema --format md`; do not edit. `key=value` on the command line overrides a recipe. Ranges: `[` and `]` belong to it, `(` and `)` do not.\n"
    "Types: `bytes` takes `512MiB` or `4GB`, `time` takes `90s`, `5m` or `1.5h`, `map` is nested YAML.\n";

// A bar would end the cell of a table.
static hone_status print_cell(hone_buffer *out, const char *text)
{
    hone_status status = HONE_OK;
    for (; *text && !status; text++) status = hone_buffer_print(out, *text == '|' ? "\\%c" : "%c", *text);
    return status;
}

static hone_status print_key(hone_buffer *out, const hone_key *key)
{
    hone_buffer kind = { 0 };
    hone_status status = hone_key_print_kind(key, &kind);
    if (!status) status = hone_buffer_print(out, "| `%s` | ", key->name);
    if (!status) status = print_cell(out, kind.data);
    if (!status) status = hone_buffer_print(out, " | %s | %s%s%s | ", key->unit, key->fallback[0] ? "`" : "", key->fallback, key->fallback[0] ? "`" : "");
    if (!status) status = print_cell(out, key->what);
    hone_buffer_release(&kind);
    return status ? status : hone_buffer_print(out, " |\n");
}

static hone_status print_markdown(void)
{
    hone_buffer out = { 0 };
    const char *group = "";
    hone_status status = hone_buffer_print(&out, "%s", head);
    for (int k = 0; k < HONE_KEY_COUNT && !status; k++) {
        const char *now = hone_key_group((hone_key_id)k);
        if (strcmp(now, group)) status = hone_buffer_print(&out, "\n## %s\n\n| key | type | unit | default | what |\n|---|---|---|---|---|\n", now);
        group = now;
        if (!status) status = print_key(&out, &hone_key_table[k]);
    }
    if (!status) fputs(out.data, stdout);
    hone_buffer_release(&out);
    return status;
}

static hone_status print_text(void)
{
    hone_buffer text = { 0 };
    hone_status status = hone_recipe_print_keys(&text);
    if (!status) fputs(text.data, stdout);
    hone_buffer_release(&text);
    return status;
}

static hone_status print_json(void)
{
    json_t *schema;
    hone_status status = hone_recipe_schema(&schema);
    if (status) return status;
    status = hone_cli_print_json(schema);
    json_decref(schema);
    return status;
}

hone_status hone_cmd_schema(int argc, char **argv)
{
    const char *format = "json";
    bool done;
    const hone_cli_option options[] = { { "format", HONE_CLI_TEXT, &format, "json|text|md", "a JSON schema (default), a table, or Markdown" }, { 0 } };
    const hone_cli_command command = { "schema", "[options]",
        "Every key of a recipe with type, range, unit, default and meaning. As a JSON schema it lets an editor complete and check\n"
        "recipes: save it, and begin a recipe with the line  # yaml-language-server: $schema=hone.schema.json",
        "hone schema --format json", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (argc > 0) return hone_fail_usage("schema: %s: nothing is expected behind the options", argv[0]);
    if (!strcmp(format, "json")) return print_json();
    if (!strcmp(format, "text")) return print_text();
    if (!strcmp(format, "md")) return print_markdown();
    return hone_fail_usage("schema: --format %s: must be json, text or md", format);
}
