// What the user names becomes documents: each format, each packing, folders, patterns, lists; and what is wrong is named.
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/talks.h"
#include "data/documents.h"
#include "data/markup.h"

#include <lzma.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct { const char *template, *separator, *format; size_t document_bytes, batch_bytes; } how;

// All documents of what `operand` names, one behind another, each closed by '|'. Skips to the middle and goes on where `again`.
static hone_status read_all(const char *operand, how h, hone_buffer *out)
{
    hone_inputs inputs;
    hone_template fields;
    hone_document_reader reader;
    hone_document_batch batch = { 0 };
    hone_buffer room = { 0 };
    hone_status status = hone_inputs_open(&inputs, &operand, 1, h.format);
    if (status) return status;
    must(h.template ? hone_template_parse(&fields, h.template) : hone_template_field(&fields, "text"));
    hone_document_options options = { &inputs, &fields, h.document_bytes, h.separator };
    must(hone_document_reader_open(&reader, &options, NULL));
    while (!(status = hone_document_reader_next(&reader, &batch, h.batch_bytes ? h.batch_bytes : 1 << 20)) && batch.count) {
        for (int64_t d = 0; d < batch.count && !status; d++) {
            const char *text;
            size_t size;
            int64_t invalid;
            status = hone_document_text(&options, &batch, &batch.document[d], &room, &text, &size, &invalid);
            if (!status) must(hone_buffer_append(out, text, size));
            if (!status) must(hone_buffer_append(out, "|", 1));
        }
        if (h.batch_bytes) { // every batch from a new reader, as a run does that is gone on with
            hone_document_position at = reader.at;
            hone_document_reader_close(&reader);
            must(hone_document_reader_open(&reader, &options, &at));
        }
        if (status) break;
    }
    hone_buffer_release(&room);
    hone_document_batch_release(&batch);
    hone_document_reader_close(&reader);
    hone_template_release(&fields);
    hone_inputs_close(&inputs);
    return status;
}

static void reads_as(const char *operand, how h, const char *want)
{
    for (int again = 0; again < 2; again++) {
        hone_buffer out = { 0 };
        h.batch_bytes = again ? 1 : 0;
        must(read_all(operand, h, &out));
        assert_string_equal(out.data ? out.data : "", want);
        hone_buffer_release(&out);
    }
}

static void fails_with(const char *operand, how h, const char *message)
{
    hone_buffer out = { 0 };
    if (!read_all(operand, h, &out)) fail_msg("%s was read", operand);
    if (!strstr(hone_error(), message)) fail_msg("\"%s\" does not say \"%s\"", hone_error(), message);
    hone_buffer_release(&out);
}

// A list of objects, however it is laid out, or objects one behind another; strings may hold any bracket.
static void test_objects_of_a_json_file_are_documents(void **state)
{
    (void)state;
    test_put("a.json", "\xef\xbb\xbf \n[\n {\"text\": \"one ] } \\\" ,{[\", \"x\": [[{}], 2]},{\"text\":\"two\"}\n\n,\n{ \"text\" : \"\"}\n , {\"text\": \"end\\\\\"} ] \n\n");
    reads_as(test_path("a.json"), (how){ 0 }, "one ] } \" ,{[|two||end\\|");
    test_put("b.json", "{\"text\": \"a\"}\n{\"text\": \"b\"} {\"text\": \"c\"}");
    reads_as(test_path("b.json"), (how){ 0 }, "a|b|c|");
    test_put("c.json", " [ ] \n");
    reads_as(test_path("c.json"), (how){ 0 }, "");
    test_put("listed.txt", "[{\"text\": \"a\"}]");
    reads_as(test_path("listed.txt"), (how){ .format = "json" }, "a|");
    static const struct { const char *text, *says; } bad[] = {
        { "[{\"text\": \"a\"},\n{\"text\": \"b\"}\n", "bad.json:3: the list that this file is does not end" },
        { "[{\"text\": \"a\"},\n]", "bad.json:2: no record {...} where the list should go on" },
        { "[{\"text\": \"a\"}\n\n{\"text\": \"b\"}]", "bad.json:3: no record {...} where the list should go on" },
        { "[\n,{\"text\": \"a\"}]", "bad.json:2: no record" },
        { "[\n7]", "bad.json:2: no record" },
        { "[{\"text\": \"a\"}]\n]", "bad.json:2: something stands behind the end of the list" },
        { "{\"text\": \"a\"}\n,{\"text\": \"b\"}", "bad.json:2: no record {...} here, and no list of them" },
        { "[{\"text\": \"a\"},\n\n {\"text\":\n \"b\"", "bad.json:3: the record that begins here never closes" },
        { "[{\"text\": \"a\"},\n {\"text\": b}]", "bad.json:2: " } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        test_put("bad.json", bad[i].text);
        fails_with(test_path("bad.json"), (how){ 0 }, bad[i].says);
        fails_with(test_path("bad.json"), (how){ .batch_bytes = 1 }, bad[i].says);
    }
}

static void test_csv_rows_are_documents_quotes_and_line_ends_and_all(void **state)
{
    (void)state;
    test_put("a.csv", "\xef\xbb\xbfid,text,n\r\n1,\"hello, \"\"you\"\"\nsecond line\",3\r\n2,plain,4\n\n3,\"\",5\n4,last,6");
    reads_as(test_path("a.csv"), (how){ 0 }, "hello, \"you\"\nsecond line|plain||last|");
    reads_as(test_path("a.csv"), (how){ .template = "{id}: {text}\\n" }, "1: hello, \"you\"\nsecond line\n|2: plain\n|3: \n|4: last\n|");
    test_put("a.tsv", "text\tx\none, two\t1\n\"tab\there\"\t2\n");
    reads_as(test_path("a.tsv"), (how){ 0 }, "one, two|tab\there|");
    test_put("b.csv", "id,text\n1,a\n2,\"b\nc,3\n");
    fails_with(test_path("b.csv"), (how){ 0 }, "b.csv:3: a quoted field of the row that begins here never closes");
    test_put("c.csv", "id,text\n1,a\n2,b,c\n");
    fails_with(test_path("c.csv"), (how){ 0 }, "c.csv:3: the row has 3 columns, the header line has 2");
    test_put("d.csv", "id,text\n1,\"a\"b\n");
    fails_with(test_path("d.csv"), (how){ 0 }, "d.csv:2: text behind the closing quote");
    test_put("e.csv", "id,txt\n1,a\n");
    fails_with(test_path("e.csv"), (how){ 0 }, "e.csv:1: the header line has no column \"text\"");
}

static void test_a_template_joins_fields(void **state)
{
    (void)state;
    test_put("t.jsonl", "{\"q\": \"why\", \"a\": {\"b\": \"so\"}, \"n\": 7, \"l\": [1]}\n");
    reads_as(test_path("t.jsonl"), (how){ .template = "{q}?\\n{a.b} {{{n}}}" }, "why?\nso {7}|");
    fails_with(test_path("t.jsonl"), (how){ .template = "{n}" }, "t.jsonl:1: the field \"n\" is no string");
    fails_with(test_path("t.jsonl"), (how){ .template = "{q} {l}" }, "t.jsonl:1: the field \"l\" is no string");
    fails_with(test_path("t.jsonl"), (how){ .template = "{q} {a.c}" }, "t.jsonl:1: the record has no field \"a.c\"");
    static const char *const wrong[][2] = { { "{q", "a { without its }" }, { "q}", "a } without its {" }, { "{}", "names no field" }, { "text", "no field in it" }, { "{q}\\x", "\\x is not known" } };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        hone_template t;
        assert_int_equal(hone_template_parse(&t, wrong[i][0]), HONE_FAILED);
        assert_non_null(strstr(hone_error(), wrong[i][1]));
    }
}

static void test_a_separator_cuts_plain_text(void **state)
{
    (void)state;
    test_put("s.txt", "one<|end|>two\n<|end|><|end|>three");
    reads_as(test_path("s.txt"), (how){ .separator = "<|end|>" }, "one|two\n||three|");
    reads_as(test_path("s.txt"), (how){ 0 }, "one<|end|>two\n<|end|><|end|>three|");
}

static void test_markup_becomes_what_a_reader_sees(void **state)
{
    (void)state;
    test_put("m.md", "# Title\n\nSome *text* with [a link](http://x) &amp; `code`.\n\n- one\n- two\n");
    reads_as(test_path("m.md"), (how){ 0 }, "Title\n\nSome text with a link & code.\n\n  - one\n  - two\n|");
    test_put("h.html", "<html><head><title>T</title><style>x{}</style></head><body><h1>Head</h1>\n<p>Para <b>bold</b>\n text.<br>next &amp; more"
                  "<ul><li>one<li>two</ul><table><tr><td>1<td>2<tr><td>3<td>4</table><pre>a\n  b</pre><script>no()</script></body></html>");
    reads_as(test_path("h.html"), (how){ 0 }, "Head\n\nPara bold text.\nnext & more\n\n- one\n- two\n\n1\t2\n3\t4\n\na\n  b\n|");
    hone_buffer deep = { 0 }, out = { 0 };
    for (int i = 0; i < 100000; i++) must(hone_buffer_append(&deep, "<b>", 3));
    must(hone_buffer_append(&deep, "deep", 4));
    must(hone_markup_html(deep.data, deep.size, "deep", &out)); // no recursion; libxml2 may cut so deep a tree
    hone_buffer_release(&deep);
    hone_buffer_release(&out);
}

static void test_xz_is_read_and_a_cut_one_refused(void **state)
{
    (void)state;
    uint8_t packed[4096];
    size_t size = 0;
    char text[3000];
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)('a' + i * i % 23);
    assert_int_equal(lzma_easy_buffer_encode(6, LZMA_CHECK_CRC64, NULL, (uint8_t *)text, sizeof text, packed, &size, sizeof packed), LZMA_OK);
    must(hone_file_write(test_path("x.txt.xz"), packed, size));
    must(hone_file_write(test_path("nameless"), packed, size)); // told by its first bytes
    hone_buffer out = { 0 };
    for (int k = 0; k < 2; k++) {
        out.size = 0;
        must(read_all(test_path(k ? "nameless" : "x.txt.xz"), (how){ 0 }, &out));
        assert_int_equal(out.size, sizeof text + 1);
        assert_memory_equal(out.data, text, sizeof text);
    }
    must(hone_file_write(test_path("cut.xz"), packed, size - 40));
    fails_with(test_path("cut.xz"), (how){ 0 }, "cut.xz: the xz stream ends too early");
    packed[size / 2] ^= 0x40;
    must(hone_file_write(test_path("bad.xz"), packed, size));
    fails_with(test_path("bad.xz"), (how){ 0 }, "bad.xz: not valid xz");
    hone_buffer_release(&out);
}

static void test_folders_patterns_and_lists_name_files(void **state)
{
    (void)state;
    must(hone_dir_create(test_path("tree/inner")));
    test_put("tree/b.txt", "b");
    test_put("tree/a.jsonl", "{\"text\": \"a\"}\n");
    test_put("tree/inner/c.md", "c");
    test_put("tree/picture.png", "no");
    test_put("tree/.hidden.txt", "no");
    reads_as(test_path("tree"), (how){ 0 }, "a|b|c\n|");
    reads_as(test_path("tree/*.txt"), (how){ 0 }, "b|");
    char list[2000];
    snprintf(list, sizeof list, "%s\n\n%s\r\n", test_path("tree/b.txt"), test_path("tree/inner"));
    test_put("list", list);
    snprintf(list, sizeof list, "@%s", test_path("list"));
    reads_as(list, (how){ 0 }, "b|c\n|");
    hone_inputs inputs;
    const char *tree = test_path("tree");
    must(hone_inputs_open(&inputs, &tree, 1, NULL));
    assert_int_equal(inputs.passed_over, 2);
    hone_inputs_close(&inputs);
    test_put("badlist", "absent.txt\n");
    snprintf(list, sizeof list, "@%s", test_path("badlist"));
    fails_with(list, (how){ 0 }, "badlist:1: absent.txt: no such file");
    fails_with(test_path("nothing*"), (how){ 0 }, "no file fits this pattern");
    must(hone_dir_create(test_path("empty")));
    fails_with(test_path("empty"), (how){ 0 }, "no file in this folder is of a known format");
    test_put("table.parquet", "PAR1");
    fails_with(test_path("table.parquet"), (how){ 0 }, "Parquet is not read");
    fails_with(test_path("tree/b.txt"), (how){ .format = "jsnl" }, "did you mean jsonl?");
}

// A file that grows, shrinks or goes while it is read would give a data set that no one could make again.
static void test_files_that_change_while_they_are_read_are_refused(void **state)
{
    (void)state;
    for (int k = 0; k < 3; k++) {
        hone_inputs inputs;
        hone_template fields;
        hone_document_reader reader;
        hone_document_batch batch = { 0 };
        char *text = hone_alloc(5 << 20, 1);
        memset(text, 'x', 5 << 20);
        must(hone_file_write(test_path("change.txt"), text, 5 << 20));
        hone_free(text);
        const char *path = test_path("change.txt");
        must(hone_inputs_open(&inputs, &path, 1, NULL));
        must(hone_template_field(&fields, "text"));
        hone_document_options options = { &inputs, &fields, 1000, NULL };
        must(hone_document_reader_open(&reader, &options, NULL));
        if (k < 2) must(hone_document_reader_next(&reader, &batch, 10000));
        if (k == 0) assert_int_equal(truncate(path, 3 << 20), 0);
        else if (k == 1) must(hone_file_append(path, "more", 4));
        else assert_int_equal(unlink(path), 0);
        hone_status status;
        while (!(status = hone_document_reader_next(&reader, &batch, 1 << 20)) && batch.count) { }
        assert_int_equal(status, HONE_FAILED);
        assert_non_null(strstr(hone_error(), k < 2 ? "change.txt: it changed while it was read" : "change.txt: no such file; it vanished"));
        hone_document_batch_release(&batch);
        hone_document_reader_close(&reader);
        hone_template_release(&fields);
        hone_inputs_close(&inputs);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_objects_of_a_json_file_are_documents),
        cmocka_unit_test(test_csv_rows_are_documents_quotes_and_line_ends_and_all), cmocka_unit_test(test_a_template_joins_fields),
        cmocka_unit_test(test_a_separator_cuts_plain_text), cmocka_unit_test(test_markup_becomes_what_a_reader_sees),
        cmocka_unit_test(test_xz_is_read_and_a_cut_one_refused), cmocka_unit_test(test_folders_patterns_and_lists_name_files),
        cmocka_unit_test(test_files_that_change_while_they_are_read_are_refused),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
