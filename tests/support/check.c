#include "support/check.h"
#include "support/cmocka_all.h"

void must(hone_status status)
{
    if (status) fail_msg("%s", hone_error());
}

void assert_says(const char *text, const char *words)
{
    if (!strstr(text, words)) fail_msg("\"%s\" is not in: %s", words, text);
}

int64_t count_in(const char *text, const char *words)
{
    int64_t n = 0;
    for (const char *at = text; (at = strstr(at, words)); at++) n++;
    return n;
}
