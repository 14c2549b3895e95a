// words.c: the verbs whose words do the work: GROUP and WORD of verbs.def. `hone ckpt ls run` finds ckpt here, then ls; and so
// does `hone ckpt --json ls run`.
#include "base/nearest.h"
#include "cli/args.h"
#include "cli/verbs.h"
#include <string.h>

typedef struct { const char *verb, *word, *what; hone_status (*run)(int argc, char **argv); } word_row;
typedef struct { const char *verb, *what, *otherwise; } group_row;

#define VERB(name, what)
static const word_row words[] = {
#define WORD(verb, word, what) { #verb, #word, what, hone_cmd_##verb##_##word },
#include "cli/verbs.def"
};
static const group_row groups[] = {
#define GROUP(name, what, otherwise) { #name, what, otherwise },
#include "cli/verbs.def"
};
#undef VERB
enum { WORDS = sizeof words / sizeof *words, GROUPS = sizeof groups / sizeof *groups };

static const group_row *find_group(const char *verb)
{
    int i = 0;
    while (i < GROUPS && strcmp(groups[i].verb, verb) != 0) i++;
    HONE_ASSERT(i < GROUPS, "%s is not a GROUP of verbs.def", verb);
    return &groups[i];
}

static const word_row *find_word(const char *verb, const char *word)
{
    for (int i = 0; i < WORDS; i++)
        if (!strcmp(words[i].verb, verb) && !strcmp(words[i].word, word)) return &words[i];
    return NULL;
}

void hone_cli_print_words(const char *verb, FILE *to)
{
    const char *between = "";
    for (int i = 0; i < WORDS; i++)
        if (!strcmp(words[i].verb, verb)) {
            fprintf(to, "%s%s", between, words[i].word);
            between = ", ";
        }
}

static void print_help(const group_row *group, FILE *to)
{
    fprintf(to, "hone %s <word> [options] [operands]\n\n%s\n\n", group->verb, group->what);
    for (int i = 0; i < WORDS; i++)
        if (!strcmp(words[i].verb, group->verb))
            fprintf(to, "  %-10s  %s%s\n", words[i].word, words[i].what, strcmp(words[i].word, group->otherwise) ? "" : "; meant where no word is given");
    fprintf(to, "\nhone %s <word> --help explains one, with an example.\n", group->verb);
}

// Options may stand in front of the word. Which of them take a value only its own table tells, so that it is asked, by --help:
// are the words in front of it options and their values, and nothing else?
static struct { char **argv; int count; bool fits; } front;

static void look_at_front(const hone_cli_command *command)
{
    int i = 0;
    while (i < front.count && !strncmp(front.argv[i], "--", 2) && front.argv[i][2]) {
        const char *name = front.argv[i] + 2;
        const hone_cli_option *option = command->option;
        while (option->name && strcmp(option->name, name) != 0) option++; // --name=value and what is unknown are one word
        i += option->name && option->type != HONE_CLI_FLAG ? 2 : 1;
    }
    front.fits = i == front.count;
}

// The place of the word, -1 where there is none.
static int find_place(const char *verb, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        const word_row *word = find_word(verb, argv[i]);
        char help[] = "--help", *ask[] = { help };
        if (word && i == 0) return i;
        if (!word) continue;
        front.argv = argv;
        front.count = i;
        hone_cli_describe = look_at_front;
        hone_status status = word->run(1, ask);
        hone_cli_describe = NULL;
        if (!status && front.fits) return i;
    }
    return -1;
}

hone_status hone_cli_run_word(const char *verb, int argc, char **argv)
{
    const group_row *group = find_group(verb);
    const char *given = argc > 0 ? argv[0] : "", *names[WORDS];
    if (!strcmp(given, "--help") || !strcmp(given, "-h")) {
        print_help(group, stdout);
        return HONE_OK;
    }
    int place = find_place(verb, argc, argv);
    if (place >= 0) {
        const word_row *word = find_word(verb, argv[place]);
        memmove(argv + 1, argv, (size_t)place * sizeof *argv);
        return word->run(argc - 1, argv + 1);
    }
    int count = 0;
    for (int i = 0; i < WORDS; i++)
        if (!strcmp(words[i].verb, verb)) names[count++] = words[i].word;
    const char *near = *given ? hone_nearest(given, names, count) : NULL;
    if (near) return hone_fail_usage("%s: %s is not a word of this verb; did you mean %s?", verb, given, near);
    if (*group->otherwise) return find_word(verb, group->otherwise)->run(argc, argv);
    if (given[0] == '-') return hone_fail_usage("%s: no word is given beside %s; hone %s --help lists them", verb, given, verb);
    if (*given) return hone_fail_usage("%s: %s is not a word of this verb; hone %s --help lists them", verb, given, verb);
    print_help(group, stderr);
    return hone_fail_usage("%s: no word is given", verb);
}
