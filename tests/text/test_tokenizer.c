// The tokenizer: components, special tokens, decoding, files, threads, and what it refuses.
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/learn.h"
#include "base/file.h"
#include "text/tokenizer.h"

#include <time.h>

#define SHARED HONE_SOURCE_DIR "/../shared/data"

// A SentencePiece-style tokenizer with %s for what a test changes.
static const char small[] =
    "{\"version\": \"1.0\", \"added_tokens\": [{\"id\": 0, \"content\": \"<unk>\", \"special\": true, \"normalized\": false},"
    "{\"id\": 1, \"content\": \"<s>\", \"special\": true, \"normalized\": false}, {\"id\": 11, \"content\": \"<sep>\", \"special\": false, \"normalized\": false}],"
    "\"normalizer\": NORMALIZER, \"pre_tokenizer\": PRETOKENIZER, \"post_processor\": POST, \"decoder\": DECODER,"
    "\"model\": {MODEL \"vocab\": {\"<unk>\": 0, \"<s>\": 1, \"\xe2\x96\x81\": 2, \"a\": 3, \"b\": 4, \"ab\": 5, \"\xe2\x96\x81" "ab\": 6, \"<0xC3>\": 7, \"<0xA9>\": 8, \"aa\": 9, \"aaa\": 10},"
    "\"merges\": MERGES}}";
static const char *const defaults[][2] = {
    { "NORMALIZER", "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": \"\xe2\x96\x81\"}, {\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\xe2\x96\x81\"}]}" },
    { "PRETOKENIZER", "null" },
    { "POST", "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], \"special_tokens\": {\"<s>\": {\"id\": \"<s>\", \"ids\": [1], \"tokens\": [\"<s>\"]}}}" },
    { "DECODER", "{\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": {\"String\": \"\xe2\x96\x81\"}, \"content\": \" \"}, {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}, {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}]}" },
    { "MODEL", "\"type\": \"BPE\", \"unk_token\": \"<unk>\", \"byte_fallback\": true, \"fuse_unk\": true," },
    { "MERGES", "[\"a b\", [\"\xe2\x96\x81\", \"ab\"], \"a a\", \"aa a\"]" },
};

// Writes the small tokenizer with one part replaced (NULL: none) and loads it.
static hone_status load_small(const char *part, const char *by, hone_tokenizer **tokenizer)
{
    hone_buffer text = { 0 };
    for (const char *p = small; *p;) {
        size_t i;
        for (i = 0; i < sizeof defaults / sizeof *defaults; i++)
            if (strncmp(p, defaults[i][0], strlen(defaults[i][0])) == 0) break;
        if (i == sizeof defaults / sizeof *defaults) { must(hone_buffer_append(&text, p++, 1)); continue; }
        const char *value = part && !strcmp(part, defaults[i][0]) ? by : defaults[i][1];
        must(hone_buffer_append(&text, value, strlen(value)));
        p += strlen(defaults[i][0]);
    }
    must(hone_file_write(test_path("tokenizer.json"), text.data, text.size));
    hone_buffer_release(&text);
    return hone_tokenizer_load(test_path("tokenizer.json"), tokenizer);
}

static void expect_ids(const hone_tokenizer *tokenizer, const char *text, int flags, int n, const int *want)
{
    hone_ids ids = { 0 };
    must(hone_tokenizer_encode(tokenizer, text, strlen(text), flags, &ids));
    bool same = ids.count == n;
    for (int i = 0; same && i < n; i++) same = ids.data[i] == want[i];
    if (!same) {
        for (int64_t i = 0; i < ids.count; i++) print_message("%d ", ids.data[i]);
        fail_msg("are the ids of \"%s\"", text);
    }
    hone_free(ids.data);
}
#define EXPECT(tokenizer, text, flags, ...) \
    expect_ids(tokenizer, text, flags, (int)(sizeof((int[]){ __VA_ARGS__ }) / sizeof(int)), (int[]){ __VA_ARGS__ })

static void test_merges_fallback_and_unknown_characters(void **state)
{
    (void)state;
    hone_tokenizer *t;
    must(load_small(NULL, NULL, &t));
    EXPECT(t, "ab ab", 0, 6, 6);
    EXPECT(t, "ab ab", HONE_ENCODE_SPECIAL, 1, 6, 6);
    EXPECT(t, "aaa", 0, 2, 10);
    EXPECT(t, "aaaa", 0, 2, 9, 9);                      // both pairs of the lowest rank before aa a
    EXPECT(t, "\xc3\xa9", 0, 2, 7, 8);                  // bytes that have tokens
    EXPECT(t, "xyz ab", 0, 2, 0, 6);                    // a run of unknown ones is one
    EXPECT(t, "ab<s>ab", 0, 6, 1, 6);                   // each stretch is normalized apart
    EXPECT(t, "ab<s>", HONE_ENCODE_PLAIN, 6, 0);         // three unknown characters
    EXPECT(t, "ab<sep>", HONE_ENCODE_PLAIN, 6, 11);     // not special: still a token
    EXPECT(t, "a\xff" "b", 0, 2, 3, 0, 2, 4);           // an invalid byte without a token of its own
    EXPECT(t, "a\xc3" "b", 0, 2, 3, 7, 2, 4);
    assert_int_equal(hone_tokenizer_vocab(t), 12);
    assert_int_equal(hone_tokenizer_special(t)->bos, 1);
    assert_int_equal(hone_tokenizer_special(t)->unk, 0);
    hone_tokenizer_free(t);
}

static void test_decoding_in_parts_equals_the_whole(void **state)
{
    (void)state;
    hone_tokenizer *t;
    must(load_small(NULL, NULL, &t));
    static const int32_t ids[] = { 1, 2, 2, 6, 7, 8, 0, 6 };
    for (int skip = 0; skip < 2; skip++) {
        hone_buffer whole = { 0 }, parts = { 0 };
        hone_decode_state s = { 0 };
        must(hone_tokenizer_decode(t, ids, 8, skip, &whole));
        for (int i = 0; i < 8; i++) must(hone_tokenizer_decode_next(t, &s, ids[i], skip, &parts));
        assert_string_equal(whole.data, skip ? "  ab\xc3\xa9 ab" : "<s>   ab\xc3\xa9<unk> ab"); // one leading space is lost, no more
        assert_string_equal(parts.data, whole.data);
        hone_buffer_release(&whole);
        hone_buffer_release(&parts);
    }
    hone_buffer out = { 0 };
    assert_int_equal(hone_tokenizer_decode(t, (int32_t[]){ 12 }, 1, false, &out), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "id 12 is not in the tokenizer's vocabulary of 12"));
    assert_int_equal(hone_tokenizer_decode(t, (int32_t[]){ -1 }, 1, false, &out), HONE_FAILED);
    hone_buffer_release(&out);
    hone_tokenizer_free(t);
}

static void test_utf8_is_cut_at_whole_characters_only(void **state)
{
    (void)state;
    static const char text[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z";
    static const size_t whole[] = { 0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11 };
    for (size_t n = 0; n < 12; n++) assert_int_equal(hone_utf8_whole(text, n), whole[n]);
    assert_int_equal(hone_utf8_whole("\xff", 1), 1);
    assert_int_equal(hone_utf8_whole("\x80\x80\x80\x80", 4), 4);
    static const char *const bad[] = { "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\x80", "\xf8\x88\x80\x80\x80", "\xc3(" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) assert_int_equal(hone_utf8_valid(bad[i], strlen(bad[i])), 0);
    assert_int_equal(hone_utf8_valid(text, 11), 11);
}

// Nothing of a tokenizer.json is ignored: each unknown or wrong part is named.
static void test_what_is_not_supported_is_refused_by_name(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        { "NORMALIZER", "{\"type\": \"Nmt\"}", "the normalizer \"Nmt\" is not supported" },
        { "NORMALIZER", "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"ByteLevel\"}]}", "the normalizer \"ByteLevel\"" },
        { "NORMALIZER", "{\"type\": \"Precompiled\", \"precompiled_charsmap\": \"A!\"}", "not base64" },
        { "NORMALIZER", "{\"type\": \"Precompiled\", \"precompiled_charsmap\": \"////f0FB\"}", "has no tree" },
        { "NORMALIZER", "{\"typo\": \"NFC\"}", "type" },
        { "NORMALIZER", "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"a*\"}, \"content\": \"b\"}", "matches where nothing stands" },
        { "PRETOKENIZER", "{\"type\": \"UnicodeScripts\"}", "the pre-tokenizer \"UnicodeScripts\" is not supported" },
        { "PRETOKENIZER", "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"(a\"}, \"behavior\": \"Isolated\", \"invert\": false}", "\"(a\" cannot be read" },
        { "PRETOKENIZER", "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"[a[b]]\"}, \"behavior\": \"Isolated\", \"invert\": false}", "class within a class" },
        { "PRETOKENIZER", "{\"type\": \"Split\", \"pattern\": {\"String\": \"a\"}, \"behavior\": \"Dropped\", \"invert\": false}", "\"Dropped\"" },
        { "PRETOKENIZER", "{\"type\": \"Metaspace\", \"replacement\": \"_\", \"prepend_scheme\": \"last\"}", "\"last\"" },
        { "POST", "{\"type\": \"Other\"}", "the post-processor \"Other\" is not supported" },
        { "POST", "{\"type\": \"BertProcessing\", \"cls\": [\"<s>\", 1], \"sep\": [\"</s>\", 12]}", "\"sep\" is not [token, id]" },
        { "POST", "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<x>\", \"type_id\": 0}}], \"special_tokens\": {}}", "\"<x>\"" },
        { "POST", "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}}], \"special_tokens\": {\"<s>\": {\"ids\": [99]}}}", "id 99, outside the vocabulary of 12" },
        { "DECODER", "{\"type\": \"CTC\"}", "the decoder \"CTC\" is not supported" },
        { "DECODER", "{\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}", "Strip" },
        { "MODEL", "\"type\": \"WordLevel\",", "the model \"WordLevel\" is not supported" },
        { "MODEL", "\"dropout\": 0.1,", "dropout" },
        { "MODEL", "\"end_of_word_suffix\": \"</w>\",", "end_of_word_suffix" },
        { "MODEL", "\"continuing_subword_prefix\": \"##\",", "continuing_subword_prefix" },
        { "MODEL", "\"unk_token\": \"<none>\",", "unk_token \"<none>\" is not in the vocabulary" },
        { "MERGES", "[\"a c\"]", "merge 0 (\"a\" and \"c\"): \"c\" is not in the vocabulary" },
        { "MERGES", "[\"b a\"]", "their union \"ba\" is not in the vocabulary" },
        { "MERGES", "[[\"a\", \"\"]]", "an empty side" },
        { "MERGES", "[\"ab\"]", "merge 0 is neither" },
        { "MERGES", "[[\"a\", \"b\", \"c\"]]", "merge 0 is neither" },
        { "MERGES", "{}", "model.merges is missing" },
        { "MERGES", "[], \"vocab\": {}", "model.vocab is missing" },
        { "MERGES", "[], \"vocab\": {\"a\": 0, \"b\": 0}", "id 0 is given to" },
        { "MERGES", "[], \"vocab\": {\"a\": -1}", "has id -1" },
        { "MERGES", "[], \"vocab\": {\"a\": \"1\"}", "the id of token \"a\" is no integer" },
        { "MERGES", "[], \"vocab\": {\"<unk>\": 0, \"<s>\": 2}", "added token \"<s>\" has id 1, but 2" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        hone_tokenizer *t;
        if (load_small(cases[i][0], cases[i][1], &t) != HONE_FAILED) fail_msg("%s was loaded", cases[i][1]);
        if (!strstr(hone_error(), cases[i][2]) || !strstr(hone_error(), "tokenizer.json")) fail_msg("\"%s\" does not say \"%s\"", hone_error(), cases[i][2]);
    }
    hone_tokenizer *t;
    assert_int_equal(hone_tokenizer_load(test_path("absent.json"), &t), HONE_FAILED);
    must(hone_dir_create(test_path("empty")));
    assert_int_equal(hone_tokenizer_load(test_path("empty"), &t), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "no tokenizer there"));
    must(hone_file_write(test_path("empty/vocab.json"), "{\"a\": 0}", 8));
    assert_int_equal(hone_tokenizer_load(test_path("empty"), &t), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "merges.txt: missing"));
    must(hone_file_write(test_path("empty/merges.txt"), "#version: 0.2\na\n", 16));
    assert_int_equal(hone_tokenizer_load(test_path("empty"), &t), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "merges.txt:2: not a merge"));
}

// --- training

static char *make_text(size_t size, unsigned seed)
{
    char *text = hone_alloc(size + 1, 1);
    uint64_t x = seed;
    for (size_t i = 0; i < size; i++) {
        x = x * 6364136223846793005ull + 1442695040888963407ull;
        unsigned r = (unsigned)(x >> 40) % 64;
        text[i] = r < 40 ? "aaeeiioottnnrrsshhlddu"[r % 22] : r < 54 ? ' ' : r < 57 ? '\n' : ".,'s1tre"[r % 8];
    }
    return text;
}

static const char *const two_special[] = { "<|endoftext|>", "<|x|>" };
#define OPTIONS(size) (&(hone_trainer_options){ .vocab = size, .special = two_special, .n_special = 2 })

static void test_training_does_not_depend_on_threads_or_parts(void **state)
{
    (void)state;
    char *text = make_text(200000, 1);
    assert_int_equal(learn_is_the_same_at_any_threads(OPTIONS(1000), text, 200000), 1000);
    hone_free(text);
}

// Counts that go to disk again and again give the same tokenizer; where even the sums find no room, the rarest words go.
static void test_training_in_little_memory_learns_the_same(void **state)
{
    (void)state;
    enum { SIZE = 300000, PARTS = 60 };
    char *text = make_text(SIZE, 3), *file[2];
    size_t file_size[2];
    for (int little = 0; little < 2; little++) {
        hone_trainer *trainer;
        char *folder = hone_strdup(test_path("counts"));
        must(hone_trainer_new(&trainer, &(hone_trainer_options){ .vocab = 900, .memory_bytes = little ? 1600000 : 1 << 30, .spill_folder = folder }));
        for (int p = 0; p < PARTS; p++) {
            const char *part = text + p * (SIZE / PARTS);
            size_t size = SIZE / PARTS;
            must(hone_trainer_add(trainer, 1, &part, &size, false));
        }
        assert_int_equal(hone_trainer_spilled(trainer), little);
        assert_int_equal(hone_dir_exists(folder), little);
        must(hone_trainer_run(trainer, NULL, NULL));
        assert_int_equal(hone_trainer_dropped(trainer), 0);
        must(hone_trainer_save(trainer, test_path("t.json")));
        hone_trainer_free(trainer);
        assert_false(hone_dir_exists(folder));
        hone_free(folder);
        must(hone_file_read(test_path("t.json"), &file[little], &file_size[little]));
    }
    assert_int_equal(file_size[0], file_size[1]);
    assert_memory_equal(file[0], file[1], file_size[0]);
    hone_free(file[0]);
    hone_free(file[1]);
    hone_trainer *trainer;
    must(hone_trainer_new(&trainer, &(hone_trainer_options){ .vocab = 900, .memory_bytes = 20000, .spill_folder = test_path("counts") }));
    size_t size = SIZE;
    const char *whole = text;
    must(hone_trainer_add(trainer, 1, &whole, &size, false));
    must(hone_trainer_run(trainer, NULL, NULL));
    assert_true(hone_trainer_dropped(trainer) > 0 && hone_trainer_words(trainer) > 0);
    hone_trainer_free(trainer);
    hone_free(text);
}

// Of pairs with equal counts, the one with the lower ids is merged first; the vocabulary ends where no pair is left.
static void test_training_breaks_ties_by_ids_and_stops_when_exhausted(void **state)
{
    (void)state;
    static const char text[] = "dc dc ba ba"; // pieces dc, Ġdc, Ġba, Ġba: (b a), (d c) and (Ġ b) twice each
    hone_trainer *trainer = learn(OPTIONS(400), text, sizeof text - 1, 1);
    must(hone_trainer_save(trainer, test_path("t.json")));
    assert_int_equal(hone_trainer_vocab(trainer), 2 + 256 + 4);
    hone_trainer_free(trainer);
    hone_tokenizer *t;
    must(hone_tokenizer_load(test_path("t.json"), &t));
    assert_int_equal(hone_tokenizer_find(t, "<|endoftext|>"), 0);
    assert_int_equal(hone_tokenizer_special(t)->eos, 0);
    assert_int_equal(hone_tokenizer_find(t, "!"), 2);
    assert_int_equal(hone_tokenizer_find(t, "ba"), 258);
    assert_int_equal(hone_tokenizer_find(t, "dc"), 259);
    assert_int_equal(hone_tokenizer_find(t, "\xc4\xa0" "ba"), 260);
    assert_int_equal(hone_tokenizer_find(t, "\xc4\xa0" "dc"), 261);
    hone_tokenizer_free(t);
}

static void test_training_refuses_impossible_sizes(void **state)
{
    (void)state;
    static const char *const special[] = { "<a>", "<a>" };
    hone_trainer *trainer;
    assert_int_equal(hone_trainer_new(&trainer, &(hone_trainer_options){ .vocab = 257, .special = special, .n_special = 2 }), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "need 258"));
    assert_int_equal(hone_trainer_new(&trainer, &(hone_trainer_options){ .vocab = 1000, .special = special, .n_special = 2 }), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "given twice"));
    assert_int_equal(hone_trainer_new(&trainer, &(hone_trainer_options){ .vocab = 1 << 30, .special = special, .n_special = 1 }), HONE_FAILED);
}

// --- what holds for any byte-level tokenizer

static hone_tokenizer *trained(void)
{
    static hone_tokenizer *t;
    if (t) return t;
    char *text = make_text(100000, 2);
    hone_trainer *trainer = learn(OPTIONS(800), text, 100000, 4);
    must(hone_trainer_save(trainer, test_path("trained.json")));
    hone_trainer_free(trainer);
    hone_free(text);
    must(hone_tokenizer_load(test_path("trained.json"), &t));
    return t;
}

static void test_any_bytes_come_back(void **state)
{
    (void)state;
    hone_tokenizer *t = trained();
    uint64_t x = 9;
    for (int round = 0; round < 300; round++) {
        char bytes[200];
        size_t size = (size_t)round % 200;
        for (size_t i = 0; i < size; i++) {
            x = x * 6364136223846793005ull + 1442695040888963407ull;
            bytes[i] = round & 1 ? (char)(x >> 56) : "ab \xc3\xa9\xe2\x82\xac\xff\n     "[x >> 60];
        }
        hone_ids ids = { 0 };
        hone_buffer back = { 0 };
        must(hone_tokenizer_encode(t, bytes, size, 0, &ids));
        must(hone_tokenizer_decode(t, ids.data, ids.count, false, &back));
        assert_int_equal(back.size, size);
        if (size) assert_memory_equal(back.data, bytes, size);
        size_t sum = 0, one;
        for (int64_t i = 0; i < ids.count; i++) { hone_tokenizer_token_bytes(t, ids.data[i], &one); sum += one; }
        assert_int_equal(sum, size);
        hone_free(ids.data);
        hone_buffer_release(&back);
    }
}

static void test_threads_and_the_cache_change_nothing(void **state)
{
    (void)state;
    enum { TEXTS = 200 };
    hone_tokenizer *t = trained(), *fresh;
    const char *text[TEXTS];
    size_t size[TEXTS];
    hone_ids many[TEXTS] = { { 0 } };
    for (int i = 0; i < TEXTS; i++) { size[i] = 500; text[i] = make_text(500, (unsigned)i % 50); }
    setenv("HONE_THREADS", "4", 1);
    must(hone_tokenizer_encode_many(t, TEXTS, text, size, 0, many));
    unsetenv("HONE_THREADS");
    for (int i = 0; i < TEXTS; i += 7) { // a cold cache
        hone_ids one = { 0 };
        must(hone_tokenizer_load(test_path("trained.json"), &fresh));
        must(hone_tokenizer_encode(fresh, text[i], size[i], 0, &one));
        assert_int_equal(one.count, many[i].count);
        assert_memory_equal(one.data, many[i].data, (size_t)one.count * sizeof *one.data);
        hone_free(one.data);
        hone_tokenizer_free(fresh);
    }
    for (int i = 0; i < TEXTS; i++) { hone_free((void *)(uintptr_t)text[i]); hone_free(many[i].data); }
}

static double encode_seconds(const hone_tokenizer *t, const char *text, size_t size)
{
    double best = 1e9;
    for (int round = 0; round < 2; round++) { // of this process, not of the clock: the machine may be busy
        hone_ids ids = { 0 };
        clock_t began = clock();
        must(hone_tokenizer_encode(t, text, size, 0, &ids));
        double seconds = (double)(clock() - began) / CLOCKS_PER_SEC;
        if (seconds < best) best = seconds;
        hone_free(ids.data);
    }
    return best;
}

// A run of one letter, or of spaces, is one piece. Eight times the length takes 8 log(8n)/log(n) < 10 times the time by
// heap, 64 times with a quadratic step, which would be half a minute here; 24 times and half a second lie between, with
// room for caches that overflow, sanitizers and a busy machine.
static void check_long_pieces(const hone_tokenizer *t)
{
    enum { SIZE = 240000 };
    static const char *const runs[] = { "a", " ", "ab", " a", "\xe2\x96\x81", "\n", "7", "\r\n", "\xc3\xa9" };
    char *text = hone_alloc(SIZE, 1);
    for (size_t r = 0; r < sizeof runs / sizeof *runs; r++) {
        size_t period = strlen(runs[r]);
        for (size_t i = 0; i < SIZE; i++) text[i] = runs[r][i % period];
        double part = encode_seconds(t, text, SIZE / 8), whole = encode_seconds(t, text, SIZE);
        if (whole > 24.0 * part + 0.5) fail_msg("\"%s\": %d bytes take %.4f s, %d take %.4f s", runs[r], SIZE / 8, part, SIZE, whole);
    }
    hone_free(text);
}

static void check_long_pieces_of(const char *path)
{
    hone_tokenizer *t;
    must(hone_tokenizer_load(path, &t));
    check_long_pieces(t);
    hone_tokenizer_free(t);
}

static void test_long_pieces_take_no_quadratic_time(void **state)
{
    (void)state;
    check_long_pieces(trained());
    if (!hone_file_exists(SHARED "/tokenizers/gpt2/vocab.json")) { print_message("skipped: no ../shared/data\n"); return; }
    check_long_pieces_of(SHARED "/tokenizers/gpt2");
    check_long_pieces_of(SHARED "/tokenizers/mistral_v1/tokenizer.json");
}

// Nothing cuts the text before these models see it: a word of 240,000 bytes.
static void test_long_words_of_other_models_take_no_quadratic_time(void **state)
{
    (void)state;
    static const char head[] = "{\"version\": \"1.0\", \"added_tokens\": [], \"normalizer\": null, \"pre_tokenizer\": null, \"post_processor\": null, \"decoder\": null, \"model\": ";
    static const char *const models[] = {
        "{\"type\": \"Unigram\", \"unk_id\": 0, \"vocab\": [[\"<unk>\", 0], [\"a\", -3], [\"aa\", -4], [\"aaaaaaaaaaaaaaaa\", -9], [\"ab\", -5], [\"b\", -6], [\" \", -2], [\"7\", -6], [\"77\", -7]]}}",
        "{\"type\": \"WordPiece\", \"unk_token\": \"[UNK]\", \"continuing_subword_prefix\": \"##\", \"max_input_chars_per_word\": 1000000, \"vocab\": {"
        "\"[UNK]\": 0, \"a\": 1, \"##a\": 2, \"##aaaaaaaaaaaaaaaa\": 3, \"##b\": 4, \" \": 5, \"## \": 6, \"7\": 7, \"##7\": 8, \"##77\": 9, \"\\n\": 10, \"##\\n\": 11, \"\\r\": 12, \"##\\r\": 13}}}",
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char *text = hone_format("%s%s", head, models[i]);
        must(hone_file_write(test_path("long.json"), text, strlen(text)));
        check_long_pieces_of(test_path("long.json"));
        hone_free(text);
    }
}

static void test_saved_tokenizers_are_the_same(void **state)
{
    (void)state;
    if (!hone_file_exists(SHARED "/tokenizers/gpt2/vocab.json")) { print_message("skipped: no ../shared/data\n"); skip(); }
    static const char *const path[] = { SHARED "/tokenizers/gpt2", SHARED "/tokenizers/gpt2/vocab.json", SHARED "/weights/stories260K/hf", SHARED "/tokenizers/qwen3" };
    uint64_t identity[4];
    for (int i = 0; i < 4; i++) {
        hone_tokenizer *a, *b;
        must(hone_tokenizer_load(path[i], &a));
        must(hone_dir_create(test_path("saved")));
        must(hone_tokenizer_save(a, test_path("saved")));
        must(hone_tokenizer_load(test_path("saved"), &b));
        identity[i] = hone_tokenizer_identity(a);
        assert_true(identity[i] == hone_tokenizer_identity(b) && identity[i] != 0);
        assert_memory_equal(hone_tokenizer_special(a), hone_tokenizer_special(b), sizeof(hone_special_ids));
        hone_tokenizer_free(a);
        hone_tokenizer_free(b);
        must(hone_dir_remove(test_path("saved")));
    }
    assert_true(identity[0] == identity[1] && identity[1] != identity[2] && identity[2] != identity[3]);
}

// Llama's format: the ids that Hugging Face tokenizers 0.23 gives.
static void test_stories260K(void **state)
{
    (void)state;
    if (!hone_dir_exists(SHARED "/weights/stories260K/hf")) { print_message("skipped: no ../shared/data\n"); skip(); }
    hone_tokenizer *t;
    must(hone_tokenizer_load(SHARED "/weights/stories260K/hf", &t));
    EXPECT(t, "Hello  world, it's na\xc3\xafve \xef\xac\x81", HONE_ENCODE_SPECIAL, 1, 346, 306, 414, 410, 263, 304, 341, 432, 312, 439, 419, 297, 412, 198, 178, 360, 410, 242, 175, 132);
    assert_int_equal(hone_tokenizer_special(t)->bos, 1);
    assert_int_equal(hone_tokenizer_special(t)->eos, 2);
    hone_tokenizer_free(t);
}

static void test_the_identity_tells_tokenizers_apart(void **state)
{
    (void)state;
    static const char *const changed[][2] = {
        { NULL, NULL }, { "MERGES", "[\"a b\", \"a a\", [\"\xe2\x96\x81\", \"ab\"], \"aa a\"]" }, { "NORMALIZER", "null" }, { "NORMALIZER", "{\"type\": \"NFC\"}" },
        { "MODEL", "\"unk_token\": \"<unk>\", \"byte_fallback\": true, \"fuse_unk\": false," }, { "PRETOKENIZER", "{\"type\": \"Metaspace\"}" },
    };
    uint64_t identity[6];
    for (int i = 0; i < 6; i++) {
        hone_tokenizer *t;
        must(load_small(changed[i][0], changed[i][1], &t));
        identity[i] = hone_tokenizer_identity(t);
        for (int k = 0; k < i; k++) assert_true(identity[k] != identity[i]);
        hone_tokenizer_free(t);
    }
    hone_tokenizer *t; // a post-processor does not change what text is made of
    must(load_small("POST", "null", &t));
    assert_true(hone_tokenizer_identity(t) == identity[0]);
    hone_tokenizer_free(t);
}

static int teardown(void **state)
{
    hone_tokenizer_free(trained());
    return test_folder_remove(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merges_fallback_and_unknown_characters), cmocka_unit_test(test_decoding_in_parts_equals_the_whole),
        cmocka_unit_test(test_utf8_is_cut_at_whole_characters_only), cmocka_unit_test(test_what_is_not_supported_is_refused_by_name),
        cmocka_unit_test(test_training_does_not_depend_on_threads_or_parts), cmocka_unit_test(test_training_in_little_memory_learns_the_same), cmocka_unit_test(test_training_breaks_ties_by_ids_and_stops_when_exhausted),
        cmocka_unit_test(test_training_refuses_impossible_sizes), cmocka_unit_test(test_any_bytes_come_back),
        cmocka_unit_test(test_threads_and_the_cache_change_nothing), cmocka_unit_test(test_long_pieces_take_no_quadratic_time),
        cmocka_unit_test(test_long_words_of_other_models_take_no_quadratic_time),
        cmocka_unit_test(test_saved_tokenizers_are_the_same), cmocka_unit_test(test_stories260K), cmocka_unit_test(test_the_identity_tells_tokenizers_apart),
    };
    return cmocka_run_group_tests(tests, test_folder_make, teardown);
}
