// verb.h: drives build/hone as a user would.
#pragma once
#include <sys/types.h>

typedef struct verb_run { pid_t pid; int fd; char *output; } verb_run;   // output: stdout and stderr together; hone_free() it

// Arguments behind "hone", ended by NULL.
void verb_start(verb_run *run, const char *const *argument);
int verb_finish(verb_run *run);                                // exit code, or 1000 + signal
int verb(char **output, const char *const *argument);          // both; *output: hone_free() it (output may be NULL)
void verb_must(const char *say, const char *const *argument);      // exit code 0, and its output holds these words
void verb_must_fail(const char *say, const char *const *argument); // exit code 1 or 2, and so does its output
