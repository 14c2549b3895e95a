#include "support/cmocka_all.h"
#include "support/folder.h"
#include "base/file.h"
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[400];

int test_folder_make(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "%s/%s.%d", HONE_BINARY_DIR, program_invocation_short_name, (int)getpid());
    return hone_dir_create(folder);
}

int test_folder_remove(void **state)
{
    (void)state;
    return hone_dir_remove(folder);
}

const char *test_folder(void) { return folder; }

const char *test_path(const char *name)
{
    static char text[8][600];
    static int turn;
    turn = (turn + 1) % 8;
    snprintf(text[turn], sizeof text[turn], "%s/%s", folder, name);
    return text[turn];
}

bool test_python_present(void)
{
    const char *python = getenv("HONE_PYTHON");
    return python && python[0];
}

int test_python(const char *script, const char *argument)
{
    char command[4096];
    snprintf(command, sizeof command, "'%s' '%s' '%s'", getenv("HONE_PYTHON"), script, argument);
    return system(command);
}
