// hone prepare: what goes in comes out, in any packing; broken input is named with file and line; nothing half-written.
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/fault.h"
#include "support/folder.h"
#include "support/program.h"
#include "data/learn.h"
#include "data/prepare.h"

#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

static void put(const char *name, const char *text, size_t size) { must(hone_file_write(test_path(name), text, size)); }

static hone_buffer book;    // paragraphs of made-up words, and one line of 200 KB
static hone_test_run run;

static int make(void **state)
{
    if (test_folder_make(state)) return 1;
    uint64_t x = 5;
    for (int p = 0; p < 3000; p++) {
        for (int w = 0; w < 40; w++) {
            x = x * 6364136223846793005ull + 1442695040888963407ull;
            must(hone_buffer_print(&book, "%s%c", (const char *[]){ "sea", "the", "of", "night", "caf\xc3\xa9", "was", "it's", "42" }[x >> 61], w % 9 == 8 ? '\n' : ' '));
        }
        must(hone_buffer_print(&book, "\n\n"));
    }
    for (int i = 0; i < 20000; i++) must(hone_buffer_print(&book, "longline %d ", i % 7));
    put("book.txt", book.data, book.size);
    const char *file = test_path("book.txt");
    hone_learn_report report;
    must(hone_learn_tokenizer(&(hone_learn_options){ .trainer = { .vocab = 400, .special = (const char *const[]){ "<|endoftext|>" }, .n_special = 1 },
                                                     .output = test_path("tok"), .files = &file, .n_files = 1, .text_field = "text" }, &report));
    assert_int_equal(report.bytes, book.size);
    return 0;
}

static int unmake(void **state)
{
    hone_buffer_release(&book);
    return test_folder_remove(state);
}

static hone_prepare_options options(const char *output, const char *const *files, int64_t n)
{
    return (hone_prepare_options){ .tokenizer = test_path("tok"), .output = output, .files = files, .n_files = n, .text_field = "text", .seed = 1 };
}

// The text of a split: decoded documents, each closed by eos and by a mark here.
static void read_back(const char *path, hone_split split, hone_buffer *out)
{
    hone_dataset data;
    hone_tokenizer *tokenizer;
    must(hone_tokenizer_load(test_path("tok"), &tokenizer));
    must(hone_dataset_open(&data, path, split, 400, hone_tokenizer_identity(tokenizer), -1));
    must(hone_dataset_verify(&data));
    int32_t *ids = hone_alloc((size_t)data.n_tokens, sizeof *ids);
    int64_t *ends = hone_alloc((size_t)data.n_tokens + 1, sizeof *ends);
    must(hone_dataset_read(&data, 0, data.n_tokens, ids));
    int64_t n = hone_dataset_ends(&data, 0, data.n_tokens, ends), begin = 0, bytes = 0;
    assert_int_equal(n, data.n_documents);
    for (int64_t d = 0; d < n; begin = ends[d++]) {
        assert_int_equal(ids[ends[d] - 1], hone_tokenizer_special(tokenizer)->eos);
        size_t before = out->size;
        must(hone_tokenizer_decode(tokenizer, ids + begin, ends[d] - 1 - begin, false, out));
        bytes += (int64_t)(out->size - before);
        must(hone_buffer_append(out, "|", 1));
    }
    assert_int_equal(bytes, data.n_bytes);
    hone_free(ids);
    hone_free(ends);
    hone_dataset_close(&data);
    hone_tokenizer_free(tokenizer);
}

static void test_text_comes_back_whole_whatever_the_cuts(void **state)
{
    (void)state;
    const char *file = test_path("book.txt");
    static const int64_t sizes[] = { 0, 100, 5000, 65536 };
    for (int k = 0; k < 4; k++) {
        hone_prepare_options o = options(test_path("whole"), &file, 1);
        hone_prepare_report report;
        hone_buffer text = { 0 };
        o.document_bytes = sizes[k];
        o.shard_tokens = k == 2 ? 10000 : 0;
        must(hone_prepare(&o, &report));
        read_back(o.output, HONE_SPLIT_TRAIN, &text);
        size_t at = 0, cuts = 0, longest = 0, since = 0;
        for (size_t i = 0; i < text.size; i++) {
            if (text.data[i] == '|') { cuts++; since = 0; continue; }
            if (text.data[i] != book.data[at]) fail_msg("byte %zu differs with documents of %d bytes", at, (int)sizes[k]);
            at++;
            if (++since > longest) longest = since;
        }
        assert_int_equal(at, book.size);
        assert_int_equal(cuts, report.documents[0]);
        if (sizes[k] == 0) assert_int_equal(cuts, 1);
        else assert_true(cuts > 1 && longest <= 2 * (size_t)sizes[k]);
        if (k == 2) assert_true(report.shards[0] > 3);
        assert_int_equal(report.bytes[0], book.size);
        hone_buffer_release(&text);
        must(hone_dir_remove(o.output));
    }
}

static void test_compressed_files_say_the_same(void **state)
{
    (void)state;
    gzFile gz = gzopen(test_path("book.txt.gz"), "wb");
    assert_int_equal(gzwrite(gz, book.data, 1000), 1000);
    gzclose(gz);
    gz = gzopen(test_path("book.txt.gz"), "ab"); // a second member, as cat a.gz b.gz makes
    assert_int_equal(gzwrite(gz, book.data + 1000, (unsigned)book.size - 1000), book.size - 1000);
    gzclose(gz);
    size_t room = ZSTD_compressBound(book.size);
    char *packed = hone_alloc(room, 1);
    size_t first = ZSTD_compress(packed, room, book.data, 5000, 3), second = ZSTD_compress(packed + first, room - first, book.data + 5000, book.size - 5000, 3);
    put("book.txt.zst", packed, first + second);
    hone_buffer plain = { 0 };
    for (int k = 0; k < 3; k++) {
        const char *file = test_path((const char *[]){ "book.txt", "book.txt.gz", "book.txt.zst" }[k]);
        hone_prepare_options o = options(test_path("packed"), &file, 1);
        hone_prepare_report report;
        hone_buffer text = { 0 };
        o.document_bytes = 3000;
        must(hone_prepare(&o, &report));
        read_back(o.output, HONE_SPLIT_TRAIN, &text);
        if (k == 0) plain = text;
        else {
            assert_int_equal(text.size, plain.size);
            assert_memory_equal(text.data, plain.data, text.size);
            hone_buffer_release(&text);
        }
        must(hone_dir_remove(o.output));
    }
    hone_buffer_release(&plain);
    char *bytes;
    size_t size;
    must(hone_file_read(test_path("book.txt.gz"), &bytes, &size));
    put("cut.gz", bytes, size - 100);
    hone_free(bytes);
    put("cut.zst", packed, first + second - 3);
    packed[first + second / 2] ^= 0x55;
    put("bad.zst", packed, first + second);
    hone_free(packed);
    put("bad.gz", "not gzip at all", 15);
    for (int k = 0; k < 4; k++) {
        const char *name = (const char *[]){ "cut.gz", "cut.zst", "bad.zst", "bad.gz" }[k], *file = test_path(name);
        hone_prepare_options o = options(test_path("packed"), &file, 1);
        hone_prepare_report report;
        o.document_bytes = 3000;
        if (hone_prepare(&o, &report) != HONE_FAILED) fail_msg("%s was read", name);
        assert_non_null(strstr(hone_error(), name));
        if (k < 2) assert_non_null(strstr(hone_error(), "cut short"));
        assert_false(hone_dir_exists(test_path("packed")) || hone_dir_exists(test_path("packed.tmp")));
    }
}

// The split follows the documents, not the order of files or the number of threads.
static void test_the_split_is_by_document_and_the_output_by_input_alone(void **state)
{
    (void)state;
    hone_buffer lines = { 0 };
    for (int i = 0; i < 2000; i++) must(hone_buffer_print(&lines, "{\"id\": %d, \"text\": \"story %d \\u00e9\\n of the sea\"}\n%s", i, i % 1000, i % 100 == 0 ? "\n" : ""));
    put("a.jsonl", lines.data, lines.size);
    hone_buffer_release(&lines);
    const char *ab[2] = { test_path("a.jsonl"), test_path("book.txt") }, *ba[2] = { ab[1], ab[0] };
    hone_prepare_report r1, r2, r3;
    hone_prepare_options o = options(test_path("one"), ab, 2);
    o.held_out = 0.1;
    o.document_bytes = 3000;
    setenv("HONE_THREADS", "1", 1);
    must(hone_prepare(&o, &r1));
    setenv("HONE_THREADS", "3", 1);
    o.output = test_path("three");
    must(hone_prepare(&o, &r2));
    unsetenv("HONE_THREADS");
    o.output = test_path("other");
    o.files = ba;
    must(hone_prepare(&o, &r3));
    for (int s = 0; s < 2; s++) {
        char *x, *y;
        size_t nx, ny;
        must(hone_file_read(test_path((const char *[]){ "one/train-00000.bin", "one/held-00000.bin" }[s]), &x, &nx));
        must(hone_file_read(test_path((const char *[]){ "three/train-00000.bin", "three/held-00000.bin" }[s]), &y, &ny));
        assert_int_equal(nx, ny);
        assert_memory_equal(x, y, nx);
        hone_free(x);
        hone_free(y);
        assert_int_equal(r1.documents[s], r3.documents[s]);
        assert_int_equal(r1.tokens[s], r3.tokens[s]);
    }
    int64_t all = r1.documents[0] + r1.documents[1];
    // 1,000 distinct stories twice, and some hundred parts of the book: binomial, 6 sigma of the doubled ones
    double want = 0.1 * (double)all, slack = 6.0 * 2.0 * sqrt(0.09 * 1000.0);
    assert_true((double)r1.documents[1] > want - slack && (double)r1.documents[1] < want + slack);
    assert_int_equal(r1.empty, 0);
    o.output = test_path("four"); // another seed, another split
    o.seed = 2;
    must(hone_prepare(&o, &r3));
    assert_true(r3.tokens[1] != r1.tokens[1]);
}

static void expect_failure(const char *name, const char *text, size_t size, const char *message)
{
    char where[700];
    put(name, text, size);
    const char *file = test_path(name);
    hone_prepare_options o = options(test_path("bad"), &file, 1);
    hone_prepare_report report;
    if (hone_prepare(&o, &report) != HONE_FAILED) fail_msg("%s was read", name);
    snprintf(where, sizeof where, "%s:%s", file, message);
    if (!strstr(hone_error(), where)) fail_msg("\"%s\" does not say \"%s\"", hone_error(), where);
    assert_false(hone_dir_exists(test_path("bad")) || hone_dir_exists(test_path("bad.tmp")));
}
#define FAILS(name, text, message) expect_failure(name, text, sizeof text - 1, message)

static void test_broken_records_are_named_by_file_and_line(void **state)
{
    (void)state;
    FAILS("b1.jsonl", "{\"text\": \"a\"}\n{\"text\": \"b\"}\n{\"txt\": \"c\"}\n", "3: the record has no field \"text\"");
    FAILS("b2.jsonl", "{\"text\": \"a\"}\n\n{\"text\": \"b\"\n{\"text\": \"c\"}\n", "3: not valid JSON");
    FAILS("b3.jsonl", "{\"text\": 5}\n", "1: the field \"text\" is no string");
    FAILS("b4.jsonl", "[1]\n", "1: the line is no JSON object");
    FAILS("b5.jsonl", "{\"text\": \"a\"} {\"text\": \"b\"}\n", "1: not valid JSON");
    FAILS("b6.txt", "", " no text in it");
    FAILS("b7.jsonl", "{\"text\": \"\"}\n", " no text in it");
    const char *file = test_path("absent.txt");
    hone_prepare_report report;
    hone_prepare_options o = options(test_path("bad"), &file, 1);
    assert_int_equal(hone_prepare(&o, &report), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "absent.txt: no such file"));
    file = test_path("book.txt");
    o.eos = "<none>";
    assert_int_equal(hone_prepare(&o, &report), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "\"<none>\" is no token"));
}

static void same_file(const char *a, const char *b)
{
    char *x, *y;
    size_t nx, ny;
    must(hone_file_read(a, &x, &nx));
    must(hone_file_read(b, &y, &ny));
    assert_int_equal(nx, ny);
    assert_memory_equal(x, y, nx);
    hone_free(x);
    hone_free(y);
}

// With --strict what is otherwise counted is an error with its line.
static void test_strict_names_the_line(void **state)
{
    (void)state;
    static const struct { const char *name, *text, *message; } rows[] = {
        { "s1.txt", "good\nbad \xff\n", ":2: not valid UTF-8" },
        { "s2.jsonl", "{\"text\": \"a\"}\n{\"text\": \"\"}\n", ":2: the document has no text" },
        { "s3.jsonl", "{\"text\": \"a\xff\"}\n", ":1: not valid UTF-8" } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char where[700];
        put(rows[i].name, rows[i].text, strlen(rows[i].text));
        const char *file = test_path(rows[i].name);
        hone_prepare_options o = options(test_path("strict"), &file, 1);
        hone_prepare_report report;
        o.strict = true;
        assert_int_equal(hone_prepare(&o, &report), HONE_FAILED);
        snprintf(where, sizeof where, "%s%s", file, rows[i].message);
        if (!strstr(hone_error(), where)) fail_msg("\"%s\" does not say \"%s\"", hone_error(), where);
        o.strict = false;
        o.output = test_path((const char *[]){ "l1", "l2", "l3" }[i]);
        must(hone_prepare(&o, &report));
    }
    const char *file = test_path("book.txt"); // its last line has 200 KB
    hone_prepare_options o = options(test_path("strict"), &file, 1);
    hone_prepare_report report;
    o.strict = true;
    assert_int_equal(hone_prepare(&o, &report), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "a line of more than 100000 bytes"));
    o.strict = false;
    must(hone_prepare(&o, &report));
    assert_int_equal(report.long_lines, 1);
}

static bool stop_now(void *context) { return --*(int *)context < 0; }
static void die_now(void *context, const hone_prepare_progress *progress) { (void)progress; if (--*(int *)context < 0) kill(getpid(), SIGKILL); }

static void same_folder(const char *a, const char *b)
{
    char **names;
    int64_t count;
    must(hone_dir_list(a, &names, &count));
    for (int64_t i = 0; i < count; i++) {
        char *x = hone_path_join(a, names[i]), *y = hone_path_join(b, names[i]);
        same_file(x, y);
        hone_free(x);
        hone_free(y);
        hone_free(names[i]);
    }
    hone_free(names);
}

// Killed with SIGKILL after every few batches, again and again: the data set that comes out is the same to the bit. Stopped in
// order, it holds the same tokens.
static void test_a_killed_run_goes_on_to_the_same_data_set(void **state)
{
    (void)state;
    gzFile gz = gzopen(test_path("book2.txt.gz"), "wb");
    assert_int_equal(gzwrite(gz, book.data, (unsigned)book.size), book.size);
    gzclose(gz);
    const char *files[2] = { test_path("book2.txt.gz"), test_path("book.txt") };
    hone_recipe recipe;
    bool clean = *state != NULL; // with filters that remember, too
    must(hone_recipe_load(&recipe, NULL, clean, (char *[]){ "filters=[exact_duplicates, near_duplicates, paragraph_duplicates]" }));
    hone_prepare_options o = options(test_path(clean ? "right3" : "right2"), files, 2);
    const char *right = o.output;
    hone_prepare_report report;
    o.recipe = &recipe;
    o.held_out = 0.1;
    o.document_bytes = 2000;
    o.shard_tokens = 40000;
    must(hone_prepare(&o, &report));
    int64_t tokens = report.tokens[0];
    hone_prepare_report_release(&report);
    o.output = test_path(clean ? "killed3" : "killed");
    int deaths = 0;
    for (bool done = false; !done;) {
        pid_t child = fork();
        if (child == 0) {
            int left = clean ? 10 : 7; // with filters little is written, and the journal follows every 8 batches
            hone_prepare_options mine = o;
            mine.progress = die_now;
            mine.context = &left;
            setenv("HONE_THREADS", "1", 1); // no threads of a pool that fork did not copy
            _exit(hone_prepare(&mine, &report));
        }
        int code;
        waitpid(child, &code, 0);
        done = WIFEXITED(code) && WEXITSTATUS(code) == 0;
        deaths += WIFSIGNALED(code);
        assert_true(done || WIFSIGNALED(code));
        if (!done) assert_false(hone_dir_exists(o.output));
        assert_true(deaths < 1000);
    }
    assert_true(deaths > 3);
    same_folder(right, o.output);
    assert_false(hone_dir_exists(test_path(clean ? "killed3.tmp" : "killed.tmp")));
    o.output = test_path(clean ? "stopped3" : "stopped");
    int stops = 0;
    for (bool done = false; !done; stops++) {
        int left = 8;
        o.stop = stop_now;
        o.context = &left;
        must(hone_prepare(&o, &report));
        done = !report.stopped;
        hone_prepare_report_release(&report);
        assert_true(stops < 1000);
    }
    assert_true(stops > 3 && report.resumed);
    assert_int_equal(report.tokens[0], tokens);
    hone_buffer x = { 0 }, y = { 0 };
    read_back(right, HONE_SPLIT_TRAIN, &x);
    read_back(o.output, HONE_SPLIT_TRAIN, &y);
    assert_int_equal(x.size, y.size);
    assert_memory_equal(x.data, y.data, x.size);
    hone_buffer_release(&x);
    hone_buffer_release(&y);
    hone_recipe_release(&recipe);
}

// A journal is JSON that someone may have edited: what is no place to go on from is refused, with the folder to remove.
static void test_a_journal_that_was_edited_is_refused(void **state)
{
    (void)state;
    static const struct { const char *key, *value, *words; } edit[] = {
        { "hashes", "[7]", "edited.tmp/journal.json: hashes are not of these inputs" }, { "hashes", "[\"0\", \"0\", \"0\"]", "hashes are not of these inputs" },
        { "at", "[0, -1, 1]", "no place to go on from" }, { "at", "[0, 0]", "no place to go on from" }, { "counts", "{}", "\"empty\" is missing" },
        { "keys", "[7]", "keys-00000.bin" }, { "data", "7", "must be a JSON object" } };
    for (size_t i = 0; i < sizeof edit / sizeof *edit; i++) {
        const char *files[1] = { test_path("book.txt") };
        hone_prepare_options o = options(test_path("edited"), files, 1);
        hone_prepare_report report;
        json_t *journal, *value;
        int left = 8;
        o.document_bytes = 2000;
        o.shard_tokens = 40000;
        o.stop = stop_now;
        o.context = &left;
        must(hone_prepare(&o, &report));
        assert_true(report.stopped);
        hone_prepare_report_release(&report);
        must(hone_json_load(test_path("edited.tmp/journal.json"), &journal));
        must(hone_json_parse("edit", edit[i].value, strlen(edit[i].value), &value));
        json_object_set_new(journal, edit[i].key, value);
        must(hone_json_save(test_path("edited.tmp/journal.json"), journal));
        json_decref(journal);
        o.stop = NULL;
        assert_int_equal(hone_prepare(&o, &report), HONE_FAILED);
        if (!strstr(hone_error(), edit[i].words)) fail_msg("%s: %s", edit[i].value, hone_error());
        hone_prepare_report_release(&report);
        must(hone_dir_remove(test_path("edited.tmp")));
    }
}

static void test_a_killed_run_with_filters_goes_on_to_the_same_data_set(void **state)
{
    (void)state;
    void *clean = &book;
    test_a_killed_run_goes_on_to_the_same_data_set(&clean);
}

static void test_what_is_dropped_or_odd_is_counted(void **state)
{
    (void)state;
    static const char lines[] = "{\"text\": \"a\"}\n{\"text\": \"\"}\n{\"text\": \"b\xff\xfe\"}\n{\"text\": \"\\u0000c\"}";
    put("odd.jsonl", lines, sizeof lines - 1);
    put("odd.txt", "x\xc3y", 3);
    const char *files[2] = { test_path("odd.jsonl"), test_path("odd.txt") };
    hone_prepare_options o = options(test_path("odd"), files, 2);
    hone_prepare_report report;
    must(hone_prepare(&o, &report));
    assert_int_equal(report.documents[0], 4);
    assert_int_equal(report.empty, 1);
    assert_int_equal(report.invalid, 2);
    hone_buffer text = { 0 };
    read_back(o.output, HONE_SPLIT_TRAIN, &text);
    static const char want[] = "a|b\xef\xbf\xbd\xef\xbf\xbd|\0c|x\xc3y|";
    assert_int_equal(text.size, sizeof want - 1);
    assert_memory_equal(text.data, want, text.size);
    hone_buffer_release(&text);
}

// Whatever write fails: an error, and neither the folder nor its temporary one is left.
static void test_a_failed_write_leaves_nothing(void **state)
{
    (void)state;
    put("little.txt", "the sea was the sea\n", 20);
    const char *file = test_path("little.txt");
    hone_prepare_options o = options(test_path("fails"), &file, 1);
    hone_prepare_report report;
    hone_test_fail(HONE_CALL_DISK, 0);
    must(hone_prepare(&o, &report));
    int64_t calls = hone_test_fail_end();
    must(hone_dir_remove(o.output));
    assert_true(calls > 8);
    for (int64_t n = 1; n <= calls; n++) {
        hone_test_fail(HONE_CALL_DISK, n);
        hone_status status = hone_prepare(&o, &report);
        hone_test_fail_end();
        assert_int_equal(status, HONE_FAILED);
        assert_true(*hone_error());
        if (n < calls) assert_false(hone_dir_exists(o.output)); // the last call is the fsync behind the rename: it is there, whole
        assert_false(hone_dir_exists(test_path("fails.tmp")));
        must(hone_dir_remove(o.output));
    }
}

// Whatever allocation fails: an error that leaves nothing; or, where hone can do without (PCRE2's compiled code), the same data.
static void test_a_failed_allocation_is_an_error(void **state)
{
    (void)state;
    const char *file = test_path("little.txt");
    hone_prepare_options o = options(test_path("short"), &file, 1);
    hone_prepare_report report;
    int64_t done_without = 0;
    setenv("HONE_THREADS", "1", 1);
    must(hone_prepare(&o, &report));
    must(hone_dir_publish(o.output, test_path("right")));
    hone_test_fail(HONE_CALL_ALLOC, 0);
    must(hone_prepare(&o, &report));
    int64_t calls = hone_test_fail_end();
    must(hone_dir_remove(o.output));
    for (int64_t n = 1; n <= calls; n += n < 200 || calls - n < 300 ? 1 : 97) {
        hone_test_fail(HONE_CALL_ALLOC, n);
        hone_status status = hone_prepare(&o, &report);
        hone_test_fail_end();
        done_without += status == HONE_OK;
        if (hone_dir_exists(o.output)) { // also where only the fsync behind the rename failed: then it is whole
            same_file(test_path("short/data.json"), test_path("right/data.json"));
            same_file(test_path("short/train-00000.bin"), test_path("right/train-00000.bin"));
        } else assert_int_equal(status, HONE_FAILED);
        assert_false(hone_dir_exists(test_path("short.tmp")));
        must(hone_dir_remove(o.output));
    }
    assert_true(done_without <= 20); // nine calls, one after another, in PCRE2 10.42
    unsetenv("HONE_THREADS");
}

static void test_the_verb_as_a_user_meets_it(void **state)
{
    (void)state;
    const char *folder = test_folder();
    hone_test_hone(&run, "prepare --tokenizer %s/tok --output %s/cli --held-out 0.1 --document-bytes 2000 %s/book.txt", folder, folder, folder);
    assert_int_equal(run.code, 0);
    assert_non_null(strstr(run.out, "bytes/token"));
    assert_string_equal(run.err, "");
    hone_test_hone(&run, "prepare --tokenizer %s/tok --output %s/cli %s/book.txt", folder, folder, folder);
    assert_int_equal(run.code, 1);
    assert_non_null(strstr(run.err, "it exists already"));
    hone_test_hone(&run, "prepare --tokenizer %s/tok --output /proc/no/where %s/book.txt", folder, folder);
    assert_int_equal(run.code, 1);
    assert_non_null(strstr(run.err, "/proc/no"));
    hone_test_hone(&run, "prepare --output %s/x %s/book.txt", folder, folder);
    assert_int_equal(run.code, 2);
    hone_test_hone(&run, "prepare --tokenizer %s/tok --output %s/x", folder, folder);
    assert_int_equal(run.code, 2);
    hone_test_hone(&run, "prepare --tokenizer %s/tok --output %s/x --held-out 1.5 %s/book.txt", folder, folder, folder);
    assert_int_equal(run.code, 1);
    assert_false(hone_dir_exists(test_path("x")));
    hone_test_hone(&run, "tokenizer train --vocab 300 --output %s/new %s/book.txt", folder, folder);
    assert_int_equal(run.code, 0);
    assert_true(hone_file_exists(test_path("new/tokenizer_config.json")));
    hone_test_hone(&run, "tokenizer train --vocab 20 --output %s/new2 %s/book.txt", folder, folder);
    assert_int_equal(run.code, 1);
    assert_non_null(strstr(run.err, "need 257"));
    put("text.jsonl", "{\"text\": \"the sea\"}\n{\"text\": \"\"}\n", 34);
    hone_test_hone(&run, "tokenizer encode --tokenizer %s/new %s/text.jsonl > %s/ids.jsonl; %s/hone tokenizer decode --tokenizer %s/new %s/ids.jsonl", folder, folder, folder,
                   HONE_BINARY_DIR, folder, folder);
    assert_int_equal(run.code, 0);
    assert_string_equal(run.out, "{\"text\": \"the sea\"}\n{\"text\": \"\"}\n");
    hone_test_hone(&run, "tokenizer decode --tokenizer %s/new %s/text.jsonl", folder, folder);
    assert_int_equal(run.code, 1);
    assert_non_null(strstr(run.err, "text.jsonl:1: the record has no list \"ids\""));
    hone_test_hone(&run, "tokenizer inspect --text 'the sea' %s/new", folder);
    assert_int_equal(run.code, 0);
    assert_non_null(strstr(run.out, "byte level"));
    hone_test_hone(&run, "tokenizer learn");
    assert_int_equal(run.code, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_comes_back_whole_whatever_the_cuts), cmocka_unit_test(test_compressed_files_say_the_same),
        cmocka_unit_test(test_the_split_is_by_document_and_the_output_by_input_alone), cmocka_unit_test(test_broken_records_are_named_by_file_and_line),
        cmocka_unit_test(test_what_is_dropped_or_odd_is_counted), cmocka_unit_test(test_a_failed_write_leaves_nothing), cmocka_unit_test(test_strict_names_the_line),
        cmocka_unit_test(test_a_killed_run_goes_on_to_the_same_data_set),
        cmocka_unit_test(test_a_journal_that_was_edited_is_refused), cmocka_unit_test(test_a_killed_run_with_filters_goes_on_to_the_same_data_set),
        cmocka_unit_test(test_a_failed_allocation_is_an_error), cmocka_unit_test(test_the_verb_as_a_user_meets_it),
    };
    return cmocka_run_group_tests(tests, make, unmake);
}
