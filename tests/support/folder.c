#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "base/file.h"
#include "base/memory.h"
#include <errno.h>
#include <unistd.h>

static char folder[400];
enum { MAX_PATHS = 512 };
static char *paths[MAX_PATHS];

int test_folder_make(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "%s/%s.%d", HONE_BINARY_DIR, program_invocation_short_name, (int)getpid());
    return hone_dir_create(folder);
}

int test_folder_remove(void **state)
{
    (void)state;
    for (int i = 0; i < MAX_PATHS; i++) hone_free(paths[i]);
    return hone_dir_remove(folder);
}

const char *test_folder(void) { return folder; }

const char *test_path(const char *name)
{
    char text[600];
    snprintf(text, sizeof text, "%s/%s", folder, name);
    for (int i = 0; i < MAX_PATHS; i++) {
        if (!paths[i]) paths[i] = hone_strdup(text);
        if (strcmp(paths[i], text) == 0) return paths[i];
    }
    fail_msg("more than %d paths", MAX_PATHS);
    return NULL;
}

char *test_read(const char *path)
{
    char *text;
    size_t size;
    must(hone_file_read(path, &text, &size));
    return text;
}

uint64_t test_hash(const char *format, ...)
{
    char path[600];
    uint64_t hash;
    va_list args;
    va_start(args, format);
    vsnprintf(path, sizeof path, format, args);
    va_end(args);
    must(hone_file_hash(path, &hash));
    return hash;
}

bool test_python_present(void)
{
    const char *python = getenv("HONE_PYTHON");
    return python && python[0];
}

bool test_python_has(const char *package)
{
    char command[4096];
    if (!test_python_present()) return false;
    snprintf(command, sizeof command, "'%s' -c 'import %s' > /dev/null 2>&1", getenv("HONE_PYTHON"), package);
    return system(command) == 0;
}

int test_python(const char *script, const char *argument)
{
    char command[4096];
    snprintf(command, sizeof command, "'%s' '%s' '%s'", getenv("HONE_PYTHON"), script, argument);
    return system(command);
}
