// Stop strings are found across tokens, and nothing that belongs to one, or to half a character, is ever shown.
#include "gen/stream.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

// Feeds the pieces; returns what was shown before the end, then "|", then what came at the end.
static void feed(hone_text_stream *s, const char *const *piece, char *shown)
{
    const char *fresh;
    size_t n;
    *shown = 0;
    for (; *piece && !s->stopped; piece++) {
        assert_int_equal(hone_text_stream_add(s, *piece, strlen(*piece), &fresh, &n), HONE_OK);
        strncat(shown, fresh, n);
    }
    strcat(shown, "|");
    hone_text_stream_finish(s, &fresh, &n);
    strncat(shown, fresh, n);
}

static void expect(const char *const *stop, int n_stop, const char *const *piece, const char *shown, bool stopped)
{
    char got[256];
    hone_text_stream s = { .stop = stop, .n_stop = n_stop };
    feed(&s, piece, got);
    assert_string_equal(got, shown);
    assert_int_equal(s.stopped, stopped);
    hone_text_stream_release(&s);
}
#define LIST(...) (const char *const[]){ __VA_ARGS__, NULL }

static void test_text_without_stops_passes_through(void **state)
{
    (void)state;
    expect(NULL, 0, LIST("Once", " upon", " a time"), "Once upon a time|", false);
}

static void test_a_stop_string_across_tokens_ends_the_text(void **state)
{
    (void)state;
    expect(LIST("\n\nUser:"), 1, LIST("The end.", "\n", "\nUs", "er", ": more"), "The end.|", true);
    expect(LIST("b"), 1, LIST("aabaa"), "aa|", true);
    expect(LIST("b"), 1, LIST("b"), "|", true);
}

static void test_what_only_began_like_a_stop_string_is_shown_later(void **state)
{
    (void)state;
    expect(LIST("abc"), 1, LIST("xa", "b", "d", "ab"), "xabd|ab", false);
    expect(LIST("aab"), 1, LIST("a", "a", "a", "c"), "aaac|", false);
    expect(LIST("aab"), 1, LIST("a", "a", "a", "b"), "a|", true); // the tail that matters is the longest that may match
}

static void test_the_first_of_several_stops_wins(void **state)
{
    (void)state;
    expect(LIST("zz", "b c"), 2, LIST("a b", " c zz"), "a |", true);
}

static void test_a_character_is_shown_whole(void **state)
{
    (void)state;
    expect(NULL, 0, LIST("\xe2", "\x82", "\xac!"), "\xe2\x82\xac!|", false);
    hone_text_stream s = { .stop = NULL };
    const char *fresh;
    size_t n;
    assert_int_equal(hone_text_stream_add(&s, "a\xe2\x82", 3, &fresh, &n), HONE_OK);
    assert_int_equal(n, 1);
    assert_int_equal(hone_text_stream_add(&s, "\xac", 1, &fresh, &n), HONE_OK);
    assert_int_equal(n, 3);
    hone_text_stream_release(&s);
    expect(NULL, 0, LIST("\xf0\x9f", "\x98"), "|\xf0\x9f\x98", false); // never completed: given at the end as it is
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_without_stops_passes_through), cmocka_unit_test(test_a_stop_string_across_tokens_ends_the_text),
        cmocka_unit_test(test_what_only_began_like_a_stop_string_is_shown_later),
        cmocka_unit_test(test_the_first_of_several_stops_wins), cmocka_unit_test(test_a_character_is_shown_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
