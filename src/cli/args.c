// args.c: one pass over argv; operands are moved to the front as options are taken out.
#include "cli/args.h"
#include "base/nearest.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_OPTIONS = 64 };

void (*hone_cli_describe)(const hone_cli_command *command);

static void print_help(const hone_cli_command *command)
{
    printf("hone %s %s\n\n%s\n", command->verb, command->operands, command->about);
    int width = (int)strlen("help");
    char left[128];
    for (const hone_cli_option *o = command->option; o->name; o++) {
        int n = snprintf(left, sizeof left, "%s %s", o->name, o->value_name ? o->value_name : "");
        if (n > width) width = n;
    }
    printf("\n");
    for (const hone_cli_option *o = command->option; o->name; o++) {
        snprintf(left, sizeof left, "%s %s", o->name, o->value_name ? o->value_name : "");
        printf("  --%-*s  %s\n", width, left, o->help);
    }
    printf("  --%-*s  %s\n\nExample:\n  %s\n", width, "help", "print this", command->example);
}

static hone_status unknown_option(const hone_cli_command *command, const char *given, size_t length)
{
    const char *names[MOST_OPTIONS];
    int count = 0;
    names[count++] = "help";
    for (const hone_cli_option *o = command->option; o->name && count < MOST_OPTIONS; o++) names[count++] = o->name;
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)(length < 63 ? length : 63), given);
    const char *near = hone_nearest(word, names, count);
    if (near)
        return hone_fail_usage("%s: --%s is not an option of this verb; did you mean --%s?", command->verb, word, near);
    return hone_fail_usage("%s: --%s is not an option of this verb; hone %s --help lists them", command->verb, word, command->verb);
}

static hone_status set_value(const hone_cli_command *command, const hone_cli_option *option, const char *value)
{
    char *end;
    errno = 0;
    switch (option->type) {
    case HONE_CLI_INT: {
        long long number = strtoll(value, &end, 10);
        if (!*value || *end || errno) return hone_fail_usage("%s: --%s %s: must be a whole number", command->verb, option->name, value);
        *(int64_t *)option->out = number;
        return HONE_OK;
    }
    case HONE_CLI_REAL: {
        double number = strtod(value, &end);
        if (!*value || *end || !isfinite(number)) return hone_fail_usage("%s: --%s %s: must be a number", command->verb, option->name, value);
        *(double *)option->out = number;
        return HONE_OK;
    }
    case HONE_CLI_TEXTS: {
        hone_cli_texts *texts = option->out;
        int most = (int)(sizeof texts->text / sizeof *texts->text);
        if (texts->count == most) return hone_fail_usage("%s: --%s is given more than %d times", command->verb, option->name, most);
        texts->text[texts->count++] = value;
        return HONE_OK;
    }
    case HONE_CLI_TEXT: *(const char **)option->out = value; return HONE_OK;
    case HONE_CLI_FLAG: break;
    }
    return hone_fail_usage("%s: --%s takes no value", command->verb, option->name);
}

bool hone_cli_colour(int fd)
{
    const char *refused = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return isatty(fd) && !(refused && refused[0]) && !(terminal && !strcmp(terminal, "dumb"));
}

hone_status hone_cli_print_json(const json_t *value)
{
    if (!value) return hone_fail("no memory, or a text that is not UTF-8, where JSON was to be printed");
    if (json_dumpf(value, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) || printf("\n") < 0) return hone_fail("standard output: cannot write JSON");
    return HONE_OK;
}

hone_status hone_cli_parse(const hone_cli_command *command, int *argc, char **argv, bool *done)
{
    int count = *argc, operands = 0;
    *done = false;
    for (int i = 0; i < count; i++) {
        char *word = argv[i];
        if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
            if (hone_cli_describe) hone_cli_describe(command);
            else print_help(command);
            *done = true;
            return HONE_OK;
        }
        if (!strcmp(word, "--")) {
            while (++i < count) argv[operands++] = argv[i];
            break;
        }
        if (word[0] != '-' || word[1] == 0) {
            argv[operands++] = word;
            continue;
        }
        if (word[1] != '-')
            return hone_fail_usage("%s: %s: options begin with two dashes; hone %s --help lists them", command->verb, word, command->verb);
        const char *name = word + 2, *equals = strchr(name, '=');
        size_t length = equals ? (size_t)(equals - name) : strlen(name);
        const hone_cli_option *option = command->option;
        while (option->name && (strncmp(option->name, name, length) != 0 || option->name[length] != 0)) option++;
        if (!option->name) return unknown_option(command, name, length);
        if (option->type == HONE_CLI_FLAG && !equals) {
            *(bool *)option->out = true;
            continue;
        }
        if (!equals && option->type != HONE_CLI_FLAG && i + 1 == count)
            return hone_fail_usage("%s: --%s needs a value: %s", command->verb, option->name, option->value_name);
        hone_status status = set_value(command, option, equals ? equals + 1 : argv[++i]);
        if (status) return status;
    }
    *argc = operands;
    return HONE_OK;
}
