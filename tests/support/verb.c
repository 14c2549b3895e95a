#include "support/verb.h"
#include "base/memory.h"
#include "support/cmocka_all.h"
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

void verb_start(verb_run *run, const char *const *argument)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    *run = (verb_run){ .fd = ends[0] };
    fflush(NULL);
    run->pid = fork();
    assert_true(run->pid >= 0);
    if (run->pid == 0) {
        const char *all[32] = { HONE_BINARY_DIR "/hone" };
        for (int i = 0; argument[i] && i < 30; i++) all[i + 1] = argument[i];
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        close(ends[0]);
        close(ends[1]);
        execv(all[0], (char *const *)(uintptr_t)all);
        _exit(127);
    }
    close(ends[1]);
}

int verb_finish(verb_run *run)
{
    hone_buffer text = { 0 };
    char piece[4096];
    ssize_t n;
    while ((n = read(run->fd, piece, sizeof piece)) > 0) assert_int_equal(hone_buffer_append(&text, piece, (size_t)n), HONE_OK);
    assert_int_equal(hone_buffer_append(&text, "", 0), HONE_OK);
    close(run->fd);
    int status;
    assert_int_equal(waitpid(run->pid, &status, 0), run->pid);
    run->output = text.data;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

int verb(char **output, const char *const *argument)
{
    verb_run run;
    verb_start(&run, argument);
    int code = verb_finish(&run);
    if (output) *output = run.output;
    else hone_free(run.output);
    return code;
}

static void check(bool fails, const char *say, const char *const *argument)
{
    char *output;
    int code = verb(&output, argument);
    bool as_wanted = fails ? code == 1 || code == 2 : code == 0;
    if (!as_wanted || !strstr(output, say)) fail_msg("hone %s %s: exit code %d, \"%s\" expected: %s", argument[0], argument[1] ? argument[1] : "", code, say, output);
    hone_free(output);
}

void verb_must(const char *say, const char *const *argument) { check(false, say, argument); }
void verb_must_fail(const char *say, const char *const *argument) { check(true, say, argument); }
