// Filters: each drops what its rule says and nothing else, near duplicates are found as often as theory has it, and the account
// adds up.
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/talks.h"
#include "support/program.h"
#include "base/file.h"
#include "base/rng.h"
#include "data/clean.h"
#include "data/minhash.h"
#include "data/pii.h"

#include <math.h>

static hone_test_run run;

static void test_what_names_a_person_is_masked_and_nothing_else(void **state)
{
    (void)state;
    static const struct { const char *text, *want; } rows[] = {
        { "Write to John.Smith+x@example.co.uk, please.", "Write to <email>, please." },
        { "a@b.cd e@f gh@.i @home me@you.c1", "<email> e@f gh@.i @home me@you.c1" },
        { "one@two.org,three@four.org", "<email>,<email>" },
        { "server 192.168.1.20 at 10.0.0.1.", "server <ip> at <ip>." },
        { "version 1.2.3.4.5, 300.1.1.1, 1.2.3", "version 1.2.3.4.5, 300.1.1.1, 1.2.3" },
        { "call +44 20 7946 0958 or (555) 123-4567, 555-123-4567", "call <phone> or <phone>, <phone>" },
        { "in 1984, 3.14159 and 12-34, +5 degrees", "in 1984, 3.14159 and 12-34, +5 degrees" },
        { "card 4111 1111 1111 1111 but not 4111 1111 1111 1112", "card <card> but not 4111 1111 1111 1112" },
        { "ssn 078-05-1120, date 2001-01-01", "ssn <ssn>, date 2001-01-01" },
        { "GB82 WEST 1234 5698 7654 32 and DE89370400440532013000; GB83 WEST 1234 5698 7654 32", "<iban> and <iban>; GB83 WEST 1234 5698 7654 32" },
        { "\xff\xfe x@y.org \xff", "\xff\xfe <email> \xff" },
        { "A1B2C3 NASA ABC12 0123456789", "A1B2C3 NASA ABC12 0123456789" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hone_buffer out = { 0 };
        int64_t found;
        must(hone_pii_mask(rows[i].text, strlen(rows[i].text), &out, &found));
        assert_string_equal(found ? out.data : rows[i].text, rows[i].want);
        hone_buffer_release(&out);
    }
}

static void test_a_keyset_holds_what_was_added(void **state)
{
    (void)state;
    hone_keyset set = { 0 };
    bool fresh;
    for (uint64_t i = 0; i < 100000; i++) {
        must(hone_keyset_add(&set, i * i << 40, &fresh)); // keys that share their low bits; 0 is one of them
    }
    int64_t distinct = set.count;
    for (uint64_t i = 0; i < 100000; i++) {
        must(hone_keyset_add(&set, i * i << 40, &fresh));
        assert_false(fresh);
        assert_true(hone_keyset_has(&set, i * i << 40));
    }
    assert_int_equal(set.count, distinct);
    int64_t strangers = 0;
    for (uint64_t i = 1; i < 100000; i++) strangers += hone_keyset_has(&set, i | 1);
    assert_int_equal(strangers, 0);
    assert_true(set.capacity * 8 < 40 * set.count + 1024);
    hone_keyset_release(&set);
}

// Two sets of 300 words, `common` of them shared: similarity common / (600 - common).
static void test_near_duplicates_are_found_as_often_as_theory_says(void **state)
{
    (void)state;
    enum { PAIRS = 600, WORDS = 300, BANDS = 14, ROWS = 8 };
    static const int common[] = { 150, 200, 240, 257, 280 };
    hone_word word[2][WORDS];
    uint32_t least[BANDS * ROWS];
    for (size_t c = 0; c < sizeof common / sizeof *common; c++) {
        double s = (double)common[c] / (2 * WORDS - common[c]), p = hone_minhash_chance(s, BANDS, ROWS);
        int found = 0;
        for (int pair = 0; pair < PAIRS; pair++) {
            uint64_t key[2][BANDS];
            for (int side = 0; side < 2; side++) {
                for (int i = 0; i < WORDS; i++) {
                    uint32_t bits[4];
                    hone_rng_block(7 + (uint64_t)pair, HONE_RNG_TEST, i < common[c] ? 9 : (uint32_t)side, (uint64_t)i, bits);
                    word[side][i] = (hone_word){ 0, 0, (uint64_t)bits[0] << 32 | bits[1] };
                }
                hone_wordlist list = { word[side], WORDS, WORDS };
                assert_true(hone_minhash_keys(&list, 1, BANDS, ROWS, least, key[side]));
            }
            bool hit = false;
            for (int b = 0; b < BANDS; b++) hit |= key[0][b] == key[1][b];
            found += hit;
        }
        double slack = 5 * sqrt(PAIRS * p * (1 - p)) + 1; // five sigma of a binomial
        if (fabs(found - PAIRS * p) > slack) fail_msg("similarity %.3f: %d of %d found, %.1f expected, at most %.1f off", s, found, PAIRS, PAIRS * p, slack);
    }
    hone_wordlist none = { 0 };
    uint64_t key[BANDS];
    assert_false(hone_minhash_keys(&none, 5, BANDS, ROWS, least, key));
}

static const char sentence[] = "The captain of the ship was an old man, and he had sailed with his crew to every harbour that the company could name on its charts. ";

static hone_buffer repeat(const char *text, int times)
{
    hone_buffer out = { 0 };
    for (int i = 0; i < times; i++) must(hone_buffer_print(&out, "%s", text));
    return out;
}

static const char good[] =
    "It was the best of evenings, and the wind had dropped to a whisper among the pines.\nMary put the letters back into their box, one after another, "
    "and looked at the harbour below.\nNobody would come for her now, she thought, for the last boat had left at noon with most of the village on board.\n"
    "She lit the lamp, set it in the window, and sat down to wait for the morning that would have to be different.\n";

static void judge(hone_quality_rule *rule, const char *text, const char *want) // want NULL: it stays
{
    hone_quality q = { 0 };
    bool drop = false;
    char why[HONE_WHY_BYTES] = "";
    must(rule(&q, (hone_text){ text, strlen(text) }, &drop, why));
    if (drop != (want != NULL)) fail_msg("%s: \"%.60s\" (%s)", drop ? "dropped" : "kept", text, why);
    if (want && !strstr(why, want)) fail_msg("\"%s\" does not say \"%s\"", why, want);
    hone_quality_release(&q);
}

static void judge_repeated(hone_quality_rule *rule, const char *text, int times, const char *want)
{
    hone_buffer all = repeat(text, times);
    judge(rule, all.data, want);
    hone_buffer_release(&all);
}

static void test_each_rule_of_quality_drops_its_own_kind(void **state)
{
    (void)state;
    judge(hone_quality_gopher, good, NULL);
    judge(hone_quality_repetition, good, NULL);
    judge(hone_quality_fineweb, good, NULL);
    judge(hone_quality_gopher, "The few words that we have.", "words; 50 to");
    judge_repeated(hone_quality_gopher, "a of to be I ", 20, "mean word of");
    judge_repeated(hone_quality_gopher, "the and with have that #tag some more words ", 20, "words with #");
    judge_repeated(hone_quality_gopher, "the and with have that wait... some more words ", 20, "an ellipsis; at most 10");
    judge_repeated(hone_quality_gopher, "the and with 1234 5678 9012 ", 20, "words with a letter");
    judge_repeated(hone_quality_gopher, "colourless green ideas sleep furiously ", 20, "0 stop words");
    judge_repeated(hone_quality_gopher, "- the thing that we have with us\n", 20, "lines are bullets");
    judge_repeated(hone_quality_gopher, "the thing that we have with us and every other thing too was long...\n", 20, "lines end in an ellipsis");
    judge_repeated(hone_quality_repetition, "the very same line of text\n", 20, "of lines were there before");
    judge_repeated(hone_quality_repetition, sentence, 12, "repeated runs of 5 words make"); // one line, so that no line repeats
    judge_repeated(hone_quality_repetition, "yes we can ", 60, "one run of 2 words makes");
    judge_repeated(hone_quality_fineweb, "Home\nAbout us\nContact page\n", 20, "end with a mark");
    judge_repeated(hone_quality_fineweb, "Too short.\nToo short it is.\n", 20, "below 30 characters");
    judge_repeated(hone_quality_fineweb, sentence, 1, NULL);
    hone_buffer lines = { 0 };
    for (int i = 0; i < 10; i++) must(hone_buffer_print(&lines, "%s\n", sentence));
    judge(hone_quality_fineweb, lines.data, "in repeated lines");
    hone_buffer_release(&lines);
}

static void test_languages_are_told_apart(void **state)
{
    (void)state;
    static const char *const text[][2] = {
        { "en", "The house was on the hill and it had been there for a hundred years or more." }, { "de", "Das Haus steht auf dem Berg und es ist dort seit mehr als hundert Jahren." },
        { "fr", "La maison est sur la colline et elle y est depuis plus de cent ans." }, { "es", "La casa está en la colina y lleva allí más de cien años, como todos los pueblos." },
        { "it", "La casa è sulla collina e ci sta da più di cento anni, come il resto della città." }, { "pt", "A casa fica na colina e está ali há mais de cem anos, como não se vê em outro lugar." },
        { "nl", "Het huis staat op de heuvel en het is er al meer dan honderd jaar." }, { "pl", "Dom jest na wzgórzu i stoi tam od ponad stu lat, co nie jest już takie częste." },
        { "sv", "Huset ligger på kullen och det har varit där i mer än hundra år." }, { "ru", "Дом стоит на холме, и он там уже больше ста лет, как и всё в этом краю." } };
    must(hone_quality_language_open());
    for (size_t i = 0; i < sizeof text / sizeof *text; i++)
        for (size_t k = 0; k < sizeof text / sizeof *text; k++) {
            hone_quality q = { 0 };
            bool drop = false;
            char why[HONE_WHY_BYTES] = "";
            must(hone_quality_language(&q, (hone_text){ text[i][1], strlen(text[i][1]) }, &text[k][0], 1, &drop, why));
            if (drop != (i != k)) fail_msg("%s as %s: %s", text[i][0], text[k][0], why);
            hone_quality_release(&q);
        }
    hone_quality_language_close();
}

static json_t *filters_of(const char *folder)
{
    json_t *json;
    char *path = hone_path_join(test_path(folder), "data.json");
    must(hone_json_load(path, &json));
    hone_free(path);
    json_t *filters = json_incref(json_object_get(json_object_get(json, "report"), "filters"));
    json_decref(json);
    return filters;
}

static int64_t number(const json_t *filters, const char *filter, const char *what) { return json_integer_value(json_object_get(json_object_get(filters, filter), what)); }

static void test_the_account_adds_up(void **state)
{
    (void)state;
    const char *f = test_folder();
    hone_buffer lines = { 0 };
    for (int i = 0; i < 400; i++) // 300 distinct documents; every fourth one again
        must(hone_buffer_print(&lines, "{\"text\": \"number %d of %d in this list of things that are much alike but not too much\\n\\nevery one of them closes with the very same paragraph of words\"}\n", i % 300, i % 300 * 7919));
    must(hone_buffer_print(&lines, "{\"text\": \"A question that was asked: What is the capital of France, and of Spain; also how far apart are these two?\"}\n"));
    must(hone_buffer_print(&lines, "{\"text\": \"What is the capital of France and of Spain also how far apart - not so far\"}\n"));
    test_put("many.jsonl", lines.data);
    hone_buffer_release(&lines);
    test_put("exam.jsonl", "{\"q\": {\"text\": [\"what is the capital of france and of spain? Also: how far apart are these two\"]}, \"n\": 3}\n{\"q\": \"too short\"}\n");
    test_put("clean.yaml", "filters: [exact_duplicates, paragraph_duplicates, decontaminate]\ndecontaminate_words: 14\n");
    hone_test_hone(&run, "tokenizer train --vocab 300 --output %s/tok %s/many.jsonl", f, f);
    assert_int_equal(run.code, 0);
    for (int threads = 1; threads <= 3; threads++) {
        hone_test_hone(&run, "prepare --tokenizer %s/tok --output %s/out%d --held-out 0 --recipe %s/clean.yaml --set decontaminate_files=%s/exam.jsonl %s/many.jsonl", f, f, threads, f, f, f);
        if (run.code) fail_msg("%s", run.err);
        setenv("HONE_THREADS", threads == 1 ? "1" : "3", 1);
    }
    unsetenv("HONE_THREADS");
    char *a, *b;
    size_t na, nb;
    must(hone_file_read(test_path("out1/data.json"), &a, &na));
    must(hone_file_read(test_path("out3/data.json"), &b, &nb));
    assert_string_equal(a, b); // with examples and all, at any number of threads
    hone_free(a);
    hone_free(b);
    json_t *filters = filters_of("out1");
    assert_int_equal(number(filters, "exact_duplicates", "dropped"), 100);
    assert_int_equal(number(filters, "decontaminate", "dropped"), 1);   // the other has 13 words in common
    assert_int_equal(json_integer_value(json_object_get(json_object_get(json_object_get(filters, "decontaminate"), "parameters"), "too_short")), 1);
    assert_int_equal(number(filters, "paragraph_duplicates", "pieces"), 299);   // the first stays
    assert_int_equal(number(filters, "paragraph_duplicates", "changed"), 299);
    assert_int_equal(number(filters, "paragraph_duplicates", "dropped"), 0);
    const json_t *example = json_array_get(json_object_get(json_object_get(filters, "exact_duplicates"), "examples"), 0);
    assert_non_null(strstr(json_string_value(json_object_get(example, "where")), "many.jsonl:301"));
    json_decref(filters);
    assert_non_null(strstr(run.out, "exact_duplicates"));
    assert_non_null(strstr(run.out, "| number 0 of 0"));
    hone_test_hone(&run, "prepare --tokenizer %s/tok --output %s/near --held-out 0 --filter near_duplicates --set near_shingle_words=2 --set near_rows=4 %s/many.jsonl", f, f, f);
    assert_int_equal(run.code, 0);
    filters = filters_of("near");
    assert_true(number(filters, "near_duplicates", "dropped") > 300);   // nearly all are alike, in pairs of words
    json_decref(filters);
}

static void test_wrong_filters_are_named(void **state)
{
    (void)state;
    const char *f = test_folder();
    test_put("bad.yaml", "languages: [en, xx]\nfilters: [language]\n");
    static const struct { const char *options, *message; } rows[] = {
        { "--filter exact_duplicate", "did you mean exact_duplicates?" }, { "--filter decontaminate", "needs decontaminate_files" },
        { "--filter decontaminate --set decontaminate_files=/no/where", "/no/where: no such file" }, { "--set near_bands=0", "near_bands is 0" }, { "--set nearbands=3", "did you mean near_bands?" } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        hone_test_hone(&run, "prepare --tokenizer %s/tok --output %s/x %s %s/many.jsonl", f, f, rows[i].options, f);
        assert_int_equal(run.code, 1);
        if (!strstr(run.err, rows[i].message)) fail_msg("\"%s\" does not say \"%s\"", run.err, rows[i].message);
    }
    hone_test_hone(&run, "prepare --tokenizer %s/tok --output %s/x --recipe %s/bad.yaml %s/many.jsonl", f, f, f, f);
    assert_int_equal(run.code, 1);
    assert_non_null(strstr(run.err, "bad.yaml:1: language 'xx' is not known"));
    hone_test_hone(&run, "prepare --filters");
    assert_int_equal(run.code, 0);
    for (int i = 0; i < HONE_FILTER_COUNT; i++) assert_non_null(strstr(run.out, hone_filter_name[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_names_a_person_is_masked_and_nothing_else), cmocka_unit_test(test_a_keyset_holds_what_was_added),
        cmocka_unit_test(test_near_duplicates_are_found_as_often_as_theory_says), cmocka_unit_test(test_each_rule_of_quality_drops_its_own_kind),
        cmocka_unit_test(test_languages_are_told_apart), cmocka_unit_test(test_the_account_adds_up), cmocka_unit_test(test_wrong_filters_are_named),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
