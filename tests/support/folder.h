// folder.h: a folder for one test program's files, made before its tests and removed behind them.
#pragma once
#include <stdbool.h>
#include <stdint.h>

int test_folder_make(void **state);      // cmocka group set-up and tear-down
int test_folder_remove(void **state);
const char *test_folder(void);
const char *test_path(const char *name); // within it; valid until test_folder_remove

char *test_read(const char *path);       // a whole file, or the test fails; hone_free() it
uint64_t test_hash(const char *format, ...) __attribute__((format(printf, 1, 2)));   // of the file at that path

// HONE_PYTHON (a Python with transformers) runs `script` with arguments; false: there is none, the test skips.
bool test_python_present(void);
bool test_python_has(const char *package);   // and it has this one
int test_python(const char *script, const char *argument);
