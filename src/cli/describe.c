// describe.c: see describe.h. Each verb is asked for its --help with hone_cli_describe set, so nothing is printed.
#include "cli/describe.h"
#include "base/memory.h"
#include "cli/verbs.h"
#include <stdio.h>
#include <string.h>

// A group's row stands before those of its words: they take `what` and `otherwise` from it.
typedef struct { const char *verb, *word, *what, *otherwise; hone_status (*run)(int argc, char **argv); } row;

static const row rows[] = {
#define VERB(name, what) { #name, NULL, what, "", hone_cmd_##name },
#define GROUP(name, what, otherwise) { #name, NULL, what, otherwise, NULL },
#define WORD(verb, word, what) { #verb, #word, what, NULL, hone_cmd_##verb##_##word },
#include "cli/verbs.def"
#undef VERB
};
enum { ROWS = sizeof rows / sizeof *rows };

static hone_cli_text *now;          // what is being described
static hone_status failed;

static char *copy(const char *text)
{
    char *out = text ? hone_strdup(text) : NULL;
    if (text && !out) failed = HONE_FAILED;
    return out;
}

static void take(const hone_cli_command *command)
{
    int n = 0;
    while (command->option[n].name) n++;
    now->operands = copy(command->operands);
    now->about = copy(command->about);
    now->example = copy(command->example);
    if (!(now->option = hone_alloc((size_t)n + 1, sizeof *now->option))) { failed = HONE_FAILED; return; }
    for (now->options = 0; now->options < n; now->options++) {
        const hone_cli_option *o = &command->option[now->options];
        now->option[now->options] = (hone_cli_option_text){ copy(o->name), copy(o->value_name), copy(o->help), o->type == HONE_CLI_FLAG };
    }
}

hone_status hone_cli_collect_texts(hone_cli_text **out, int *count)
{
    hone_cli_text *text = hone_alloc(ROWS, sizeof *text);
    if (!text) return HONE_FAILED;
    *count = 0;
    failed = HONE_OK;
    hone_cli_describe = take;
    const row *head = NULL; // of the verb or group
    for (int i = 0; i < ROWS && !failed; i++) {
        const row *r = &rows[i];
        char help[] = "--help", *argv[] = { help };
        if (!r->word) head = r;
        if (!r->run) continue;
        now = &text[(*count)++];
        now->verb = copy(r->verb);
        now->word = copy(r->word);
        now->what = copy(head->what);
        now->word_what = r->word ? copy(r->what) : NULL;
        now->is_default = r->word && !strcmp(r->word, head->otherwise);
        now->name = !r->word ? hone_format("hone %s", r->verb) : hone_format(now->is_default ? "hone %s [%s]" : "hone %s %s", r->verb, r->word);
        if (!now->name) failed = HONE_FAILED;
        if (!failed) failed = r->run(1, argv);
        HONE_ASSERT(failed || now->about, "hone %s %s --help does not go through hone_cli_parse", r->verb, r->word ? r->word : "");
    }
    hone_cli_describe = NULL;
    if (failed) hone_cli_free_texts(text, *count);
    else *out = text;
    return failed;
}

void hone_cli_free_texts(hone_cli_text *text, int count)
{
    for (int i = 0; i < count; i++) {
        for (int o = 0; o < text[i].options; o++) {
            hone_free(text[i].option[o].name);
            hone_free(text[i].option[o].value_name);
            hone_free(text[i].option[o].help);
        }
        hone_free(text[i].option);
        hone_free(text[i].verb);
        hone_free(text[i].word);
        hone_free(text[i].name);
        hone_free(text[i].what);
        hone_free(text[i].word_what);
        hone_free(text[i].operands);
        hone_free(text[i].about);
        hone_free(text[i].example);
    }
    hone_free(text);
}
