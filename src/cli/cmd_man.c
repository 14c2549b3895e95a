// cmd_man.c: hone man: man pages in roff and docs/verbs.md, from what each --help says and from the key table.
#include "base/file.h"
#include "base/memory.h"
#include "cli/describe.h"
#include "cli/verbs.h"
#include "recipe/recipe.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

// --- roff -------------------------------------------------------------------------------------------------------------

// Text as it is: backslashes and dashes are escaped, and a line may not begin as a request does.
static hone_status put(hone_buffer *out, const char *text)
{
    hone_status status = HONE_OK;
    bool begins = out->size == 0 || out->data[out->size - 1] == '\n';
    for (; *text && !status; text++) {
        const char *as = *text == '\\' ? "\\e" : *text == '-' ? "\\-" : begins && (*text == '.' || *text == '\'') ? (*text == '.' ? "\\&." : "\\&'") : NULL;
        status = as ? hone_buffer_print(out, "%s", as) : hone_buffer_append(out, text, 1);
        begins = *text == '\n';
    }
    return status;
}

static hone_status section(hone_buffer *out, const char *title) { return hone_buffer_print(out, "%s.SH %s\n", out->size && out->data[out->size - 1] != '\n' ? "\n" : "", title); }

static hone_status literal(hone_buffer *out, const char *text)
{
    hone_status status = hone_buffer_print(out, ".PP\n.nf\n.RS 4\n");
    if (!status) status = put(out, text);
    return status ? status : hone_buffer_print(out, "\n.RE\n.fi\n");
}

static hone_status item(hone_buffer *out, const char *tag, const char *after, const char *text)
{
    hone_status status = hone_buffer_print(out, ".TP\n\\fB");
    if (!status) status = put(out, tag);
    if (!status) status = hone_buffer_print(out, "\\fR");
    if (!status && *after) status = hone_buffer_print(out, " \\fI");
    if (!status) status = put(out, after);
    if (!status) status = hone_buffer_print(out, *after ? "\\fR\n" : "\n");
    if (!status) status = put(out, text);
    return status ? status : hone_buffer_print(out, "\n");
}

static hone_status head(hone_buffer *out, const char *name, int number, const char *what)
{
    char upper[64];
    snprintf(upper, sizeof upper, "%s", name);
    for (char *c = upper; *c; c++) *c = (char)toupper((unsigned char)*c);
    hone_status status = hone_buffer_print(out, ".TH %s %d \"\" \"hone %s\"\n.SH NAME\n%s \\- ", upper, number, HONE_VERSION, name);
    return status ? status : put(out, what);
}

static hone_status print_command(hone_buffer *out, const hone_cli_text *t)
{
    hone_status status = hone_buffer_print(out, "%s.PP\n\\fB%s\\fR ", out->data[out->size - 1] == '\n' ? "" : "\n", t->name);
    if (!status) status = put(out, t->operands);
    if (!status) status = hone_buffer_print(out, "\n.PP\n");
    if (!status) status = put(out, t->about);
    if (!status) status = hone_buffer_print(out, "\n");
    for (int o = 0; o < t->options && !status; o++) {
        char name[64];
        snprintf(name, sizeof name, "--%s", t->option[o].name);
        status = item(out, name, t->option[o].value_name ? t->option[o].value_name : "", t->option[o].help);
    }
    return status ? status : literal(out, t->example);
}

// hone-<verb>.1: all words of a verb on one page.
static hone_status print_verb(hone_buffer *out, const hone_cli_text *text, int count, const char *verb)
{
    char name[48];
    const hone_cli_text *first = NULL;
    for (int i = count; i-- > 0;)
        if (!strcmp(text[i].verb, verb)) first = &text[i];
    if (!first) return hone_fail_usage("man: %s is not a verb; hone --help lists them", verb);
    snprintf(name, sizeof name, "hone-%s", verb);
    hone_status status = head(out, name, 1, first->what);
    if (!status) status = section(out, "DESCRIPTION");
    for (int i = 0; i < count && !status; i++)
        if (!strcmp(text[i].verb, verb)) status = print_command(out, &text[i]);
    if (!status) status = section(out, "EXIT STATUS");
    if (!status) status = hone_buffer_print(out, "0: done. 1: files, data, memory or the like failed; the message says where and what to do. 2: the command line was wrong.\n"
                                            "3: a device failed under way; the last checkpoint is whole, and the run can go on elsewhere.\n"
                                            "128 + N: stopped by signal N after saving.\n");
    if (!status) status = section(out, "SEE ALSO");
    return status ? status : hone_buffer_print(out, ".BR hone (1),\n.BR hone\\-recipe (5)\n");
}

static hone_status print_main(hone_buffer *out, const hone_cli_text *text, int count)
{
    hone_status status = head(out, "hone", 1, "trains language models at the lowest cost in time, money, memory and energy");
    if (!status) status = section(out, "SYNOPSIS");
    if (!status) status = hone_buffer_print(out, "\\fBhone\\fR \\fIverb\\fR [options] [operands]\n");
    if (!status) status = section(out, "VERBS");
    for (int i = 0; i < count && !status; i++) {
        char name[48];
        snprintf(name, sizeof name, "hone-%s(1)", text[i].verb);
        if (i == 0 || strcmp(text[i].verb, text[i - 1].verb)) status = item(out, name, "", text[i].what);
    }
    if (!status) status = section(out, "ENVIRONMENT");
    if (!status) status = item(out, "HONE_THREADS", "", "threads, where a recipe does not say; default: all cores that this process may use");
    if (!status) status = item(out, "HONE_ISA", "", "portable, avx2 ...: no more than this instruction set is used");
    if (!status) status = section(out, "SEE ALSO");
    return status ? status : hone_buffer_print(out, ".BR hone\\-recipe (5)\n");
}

static hone_status print_recipe(hone_buffer *out)
{
    const char *group = "";
    hone_status status = head(out, "hone-recipe", 5, "what a run is to do: a YAML file of keys");
    if (!status) status = section(out, "DESCRIPTION");
    if (!status) status = hone_buffer_print(out, "One key a line, as in \\fIlearning_rate: 1e\\-3\\fR; key=value on the command line overrides. Ranges: [ and ] belong to it, ( and ) do not.\n"
                                            "bytes: 512MiB, 4GB. time: 90s, 5m, 1.5h. map: nested YAML.\n");
    for (int k = 0; k < HONE_KEY_COUNT && !status; k++) {
        const hone_key *key = &hone_key_table[k];
        const char *now = hone_key_group((hone_key_id)k);
        if (strcmp(now, group)) status = hone_buffer_print(out, ".SS \"%s\"\n", now);
        group = now;
        hone_buffer kind = { 0 }, what = { 0 };
        if (!status) status = hone_key_print_kind(key, &kind);
        if (!status) status = hone_buffer_print(&what, "%s%s%s%s%s%s", key->what, key->unit[0] ? " [" : "", key->unit, key->unit[0] ? "]" : "", key->fallback[0] ? "; default: " : "", key->fallback);
        if (!status) status = item(out, key->name, kind.data, what.data);
        hone_buffer_release(&kind);
        hone_buffer_release(&what);
    }
    if (!status) status = section(out, "SEE ALSO");
    return status ? status : hone_buffer_print(out, ".BR hone (1),\n.BR hone\\-schema (1)\n");
}

// --- Markdown ---------------------------------------------------------------------------------------------------------

static hone_status print_markdown(hone_buffer *out, const hone_cli_text *text, int count)
{
    hone_status status = hone_buffer_print(out, "# Verbs\n\nMade by `hone man --format md`; do not edit. Exit status: 0 done, 1 files, data or memory failed, 2 the command line was\n"
                                           "wrong, 3 a device failed under way (the last checkpoint is whole), 128 + N stopped by signal N after saving.\n");
    for (int i = 0; i < count && !status; i++) {
        const hone_cli_text *t = &text[i];
        if (i == 0 || strcmp(t->verb, text[i - 1].verb)) status = hone_buffer_print(out, "\n## hone %s\n\n%s.\n", t->verb, t->what);
        if (!status) status = hone_buffer_print(out, "\n```\n%s %s\n```\n\n%s\n", t->name, t->operands, t->about);
        if (!status && t->options) status = hone_buffer_print(out, "\n| option | what |\n|---|---|\n");
        for (int o = 0; o < t->options && !status; o++) {
            status = hone_buffer_print(out, "| `--%s%s", t->option[o].name, t->option[o].value_name ? " " : "");
            for (const char *c = t->option[o].value_name; c && *c && !status; c++) status = hone_buffer_print(out, *c == '|' ? "\\%c" : "%c", *c);
            if (!status) status = hone_buffer_print(out, "` | %s |\n", t->option[o].help);
        }
        if (!status) status = hone_buffer_print(out, "\nExample: `%s`\n", t->example);
    }
    return status;
}

// --- pages ------------------------------------------------------------------------------------------------------------

static hone_status print_page(hone_buffer *out, const hone_cli_text *text, int count, const char *page)
{
    return !strcmp(page, "hone") ? print_main(out, text, count) : !strcmp(page, "recipe") ? print_recipe(out) : print_verb(out, text, count, page);
}

static hone_status write_page(const char *folder, const hone_cli_text *text, int count, const char *page)
{
    hone_buffer out = { 0 };
    bool main = !strcmp(page, "hone"), recipe = !strcmp(page, "recipe");
    char *part = hone_format("%s/man%d", folder, recipe ? 5 : 1), *path = hone_format("%s/hone%s%s.%d", part ? part : "", main ? "" : "-", main ? "" : page, recipe ? 5 : 1);
    hone_status status = part && path ? hone_dir_create(part) : HONE_FAILED;
    if (!status) status = print_page(&out, text, count, page);
    if (!status) status = hone_file_write(path, out.data, out.size);
    hone_free(part);
    hone_free(path);
    hone_buffer_release(&out);
    return status;
}

static hone_status write_all(const char *folder, const hone_cli_text *text, int count)
{
    hone_status status = write_page(folder, text, count, "hone");
    if (!status) status = write_page(folder, text, count, "recipe");
    for (int i = 0; i < count && !status; i++)
        if (i == 0 || strcmp(text[i].verb, text[i - 1].verb)) status = write_page(folder, text, count, text[i].verb);
    return status;
}

hone_status hone_cmd_man(int argc, char **argv)
{
    const char *folder = NULL, *format = "roff";
    bool done;
    const hone_cli_option options[] = { { "output", HONE_CLI_TEXT, &folder, "DIR", "write all pages below this folder: man1/hone.1, man1/hone-<verb>.1, man5/hone-recipe.5" },
                                        { "format", HONE_CLI_TEXT, &format, "roff|md", "a man page (default), or the reference of all verbs in Markdown" }, { 0 } };
    const hone_cli_command command = { "man", "[options] [hone|recipe|VERB]",
        "Prints a man page: of hone, of recipes, or of a verb. `make install` puts all of them where man finds them.", "hone man pretrain | man -l -", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    bool markdown = !strcmp(format, "md");
    if (argc > 1) return hone_fail_usage("man: one page at most");
    if (!markdown && strcmp(format, "roff")) return hone_fail_usage("man: --format %s: must be roff or md", format);
    hone_cli_text *text;
    int count;
    if ((status = hone_cli_collect_texts(&text, &count))) return status;
    hone_buffer out = { 0 };
    if (folder) status = write_all(folder, text, count);
    else if (!(status = markdown ? print_markdown(&out, text, count) : print_page(&out, text, count, argc ? argv[0] : "hone"))) fputs(out.data, stdout);
    hone_buffer_release(&out);
    hone_cli_free_texts(text, count);
    return status;
}
