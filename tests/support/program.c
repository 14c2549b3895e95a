// program.c: by the shell, with both streams to files: no deadlock over full pipes, quoting as users type it.
#include "support/program.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void read_and_remove(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "re");
    size_t n = file ? fread(text, 1, size - 1, file) : 0;
    text[n] = 0;
    if (file) fclose(file);
    unlink(path);
}

void hone_test_hone(hone_test_run *run, const char *format, ...)
{
    char arguments[4096], line[8192], out[] = "/tmp/hone-out-XXXXXX", err[] = "/tmp/hone-err-XXXXXX";
    va_list args;
    va_start(args, format);
    vsnprintf(arguments, sizeof arguments, format, args);
    va_end(args);
    int fd_out = mkstemp(out), fd_err = mkstemp(err);
    if (fd_out < 0 || fd_err < 0) {
        perror("mkstemp");
        abort();
    }
    close(fd_out);
    close(fd_err);
    snprintf(line, sizeof line, "'%s/hone' %s > %s 2> %s", HONE_BINARY_DIR, arguments, out, err);
    int status = system(line);
    run->code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    read_and_remove(out, run->out, sizeof run->out);
    read_and_remove(err, run->err, sizeof run->err);
}
