// main.c: finds the verb, runs it, prints its error, and turns its status into the exit code: 0 done, 1 the world failed,
// 2 the command line was wrong, 3 a device failed (then the process ended where it did).
#include "base/nearest.h"
#include "base/thread.h"
#include "cli/verbs.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct { const char *name, *what; hone_status (*run)(int argc, char **argv); } verb;   // run NULL: its words do the work

static const verb verbs[] = {
#define VERB(name, what) { #name, what, hone_cmd_##name },
#define GROUP(name, what, otherwise) { #name, what, NULL },
#include "cli/verbs.def"
#undef VERB
};
enum { VERBS = sizeof verbs / sizeof *verbs };

static void print_help(FILE *to)
{
    fprintf(to, "hone %s: trains language models at the lowest cost\n\n  hone <verb> [options] [operands]\n\n", HONE_VERSION);
    for (int i = 0; i < VERBS; i++) {
        fprintf(to, "  %-10s  %s%s", verbs[i].name, verbs[i].what, verbs[i].run ? "" : ": ");
        if (!verbs[i].run) hone_cli_print_words(verbs[i].name, to);
        fprintf(to, "\n");
    }
    fprintf(to, "\nhone <verb> --help explains one verb. hone --version prints the version.\n");
}

static hone_status run(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return hone_fail_usage("no verb is given");
    }
    const char *word = argv[1];
    if (!strcmp(word, "--help") || !strcmp(word, "-h")) {
        print_help(stdout);
        return HONE_OK;
    }
    if (!strcmp(word, "--version")) {
        printf("hone %s\n", HONE_VERSION);
        return HONE_OK;
    }
    const char *names[VERBS];
    for (int i = 0; i < VERBS; i++) {
        names[i] = verbs[i].name;
        if (!strcmp(word, verbs[i].name)) return verbs[i].run ? verbs[i].run(argc - 2, argv + 2) : hone_cli_run_word(word, argc - 2, argv + 2);
    }
    const char *near = hone_nearest(word, names, VERBS);
    if (near) return hone_fail_usage("%s is not a verb; did you mean %s?", word, near);
    return hone_fail_usage("%s is not a verb; hone --help lists them", word);
}

int main(int argc, char **argv)
{
    if (argc > 2) hone_thread_wait_briefly(argv);
    hone_status status = run(argc, argv);
    if (fflush(stdout) && !status) status = hone_fail("standard output: cannot write: %s", strerror(errno));
    if (status) fprintf(stderr, "hone: %s\n", hone_error());
    return status;
}
