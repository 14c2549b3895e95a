// The hand-written splits cut every text where the regular expression that they stand for does.
#include "support/cmocka_all.h"
#include "text/regex.h"
#include "text/split.h"
#include "text/parts.h"

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define REST "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
static const char *const patterns[] = {
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
    CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" REST,
    CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*" REST,
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+" CONTRACTIONS "?"
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*" CONTRACTIONS "?"
    "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*" REST,
};

// Characters that the patterns tell apart: each class, each way to be a space or a line's end, all that contractions hold.
static const int32_t alphabet[] = {
    'a', 'b', 's', 't', 'r', 'e', 'v', 'l', 'd', 'm', 'S', 'T', 'R', 'E', 'V', 'L', 'D', 'M', 'Z', '\'', '\'', '\'', ' ', ' ', ' ', '\n', '\r', '\t', '1', '2', '.', '/', '-', '<',
    0x17f /* ſ */, 0x212a /* K */, 0xe9, 0xc9, 0x1c5 /* Lt */, 0x2b0 /* Lm */, 0x5d0 /* Lo */, 0x4e2d, 0xac00, 0x301 /* Mn */, 0x903 /* Mc */, 0x20dd /* Me */,
    0xb2 /* No */, 0x2167 /* Nl */, 0x660 /* Nd */, 0xa0, 0x85, 0x2028, 0x3000, 0x180e /* Cf, no space */, 0x200b, 0x1f600, 0x10400, 0x1d7ce, 0, 0x7f, 0x378 /* not assigned */, 0xe000,
};

static void check(int pattern, hone_regex *regex, hone_matcher *matcher, const char *text, size_t size)
{
    hone_split_fn split = hone_split_find(patterns[pattern]);
    for (size_t at = 0; at < size;) {
        bool found;
        size_t start, end, mine = split(text, size, at);
        assert_int_equal(hone_regex_find(regex, matcher, text, size, at, &found, &start, &end), HONE_OK);
        if (!found || start != at || mine != end) {
            for (size_t i = 0; i < size; i++) print_message("%02x ", (uint8_t)text[i]);
            fail_msg("pattern %d at byte %zu: %zu, and not %zu to %zu", pattern, at, mine, start, end);
        }
        at = end;
    }
}

static void test_splits_equal_their_patterns(void **state)
{
    (void)state;
    int rounds = getenv("HONE_TEST_LONG") ? 2000000 : 100000;
    hone_matcher matcher;
    assert_int_equal(hone_matcher_init(&matcher), HONE_OK);
    for (int p = 0; p < 4; p++) {
        hone_regex *regex;
        uint64_t x = 7;
        assert_non_null(hone_split_find(patterns[p]));
        assert_int_equal(hone_regex_new(&regex, patterns[p], false, "test"), HONE_OK);
        hone_buffer text = { 0 };
        for (int round = 0; round < rounds; round++) {
            text.size = 0;
            int length = 1 + round % 12;
            for (int i = 0; i < length; i++) {
                x = x * 6364136223846793005ull + 1442695040888963407ull;
                assert_int_equal(hone_char_append(&text, alphabet[(x >> 33) % (sizeof alphabet / sizeof *alphabet)]), HONE_OK);
            }
            check(p, regex, &matcher, text.data, text.size);
        }
        hone_buffer_release(&text);
        hone_regex_free(regex);
    }
    hone_matcher_release(&matcher);
}

// A pattern that differs in anything is not taken for one of these.
static void test_other_patterns_are_not_recognised(void **state)
{
    (void)state;
    char other[512];
    for (int p = 0; p < 4; p++) {
        size_t size = strlen(patterns[p]);
        for (size_t i = 0; i < size; i++) {
            memcpy(other, patterns[p], size + 1);
            other[i]++;
            assert_null(hone_split_find(other));
        }
        memcpy(other, patterns[p], size);
        other[size - 1] = 0;
        assert_null(hone_split_find(other));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_splits_equal_their_patterns), cmocka_unit_test(test_other_patterns_are_not_recognised) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
