// program.h: runs build/hone as a user does.
#pragma once

typedef struct { int code; char out[16384], err[4096]; } hone_test_run; // exit code (128 + signal if killed), streams cut to fit

// A shell command line behind the program: hone_test_hone(&run, "doctor --json"); %-formatted.
void hone_test_hone(hone_test_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
