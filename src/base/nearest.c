// nearest.c: Damerau-Levenshtein distance with neighbours swapped at most once (optimal string alignment), three rows.
//
//   d[i][j] = edits between the first i letters of a and the first j of b
//           = min(d[i-1][j] + 1, d[i][j-1] + 1, d[i-1][j-1] + (a_i != b_j), d[i-2][j-2] + 1 if the last two are swapped)
#include "base/nearest.h"
#include <string.h>

enum { LONGEST = 63 };

static int min(int a, int b) { return a < b ? a : b; }

static int distance(const char *a, int n, const char *b, int m)
{
    int rows[3][LONGEST + 1], *before = rows[0], *last = rows[1], *now = rows[2];
    memset(before, 0, sizeof rows[0]);
    for (int j = 0; j <= m; j++) last[j] = j;
    for (int i = 1; i <= n; i++) {
        now[0] = i;
        for (int j = 1; j <= m; j++) {
            now[j] = min(min(last[j], now[j - 1]) + 1, last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) now[j] = min(now[j], before[j - 2] + 1);
        }
        int *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[m];
}

const char *hone_nearest(const char *word, const char *const *names, int count)
{
    int n = (int)strnlen(word, LONGEST + 1), best = n < 3 ? 2 : 2 + n / 4; // one letter in four, and one edit more
    const char *found = NULL;
    for (int i = 0; i < count && n <= LONGEST; i++) {
        int m = (int)strnlen(names[i], LONGEST + 1);
        if (m > LONGEST) continue;
        int edits = distance(word, n, names[i], m);
        if (edits < best) {
            best = edits;
            found = names[i];
        }
    }
    return found;
}
