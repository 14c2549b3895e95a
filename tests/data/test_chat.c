// Conversations: told by their keys, rendered by the model's template, trained where assistants speak, to the token.
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/verb.h"
#include "base/file.h"
#include "data/chat_mark.h"
#include "data/chat_record.h"
#include "data/mixture.h"

#define GOLDEN HONE_SOURCE_DIR "/tests/golden/chat"

// Bytes are tokens, and so are what templates write around turns.
static int make_model(void **state)
{
    static const char *const special[] = { "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<end_of_turn>" };
    if (test_folder_make(state) || setenv("TZ", "UTC", 1)) return -1;
    must(hone_file_write(test_path("train.txt"), "abc\n", 4));
    char *train[32] = { "tokenizer", "train", "--vocab", "262", "--output", (char *)(uintptr_t)test_path("tokenizer.json") };
    int n = 6;
    for (size_t i = 0; i < sizeof special / sizeof *special; i++) {
        train[n++] = "--special";
        train[n++] = (char *)(uintptr_t)special[i];
    }
    train[n++] = (char *)(uintptr_t)test_path("train.txt");
    verb_must("", (const char *const *)train);
    static const char about[] = "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}";
    must(hone_file_write(test_path("tokenizer_config.json"), about, sizeof about - 1));
    char *template = test_read(GOLDEN "/chatml.jinja");
    must(hone_file_write(test_path("chat_template.jinja"), template, strlen(template)));
    hone_free(template);
    return 0;
}

static hone_tokenizer *load(void)
{
    hone_tokenizer *tokenizer;
    must(hone_tokenizer_load(test_path("tokenizer.json"), &tokenizer));
    return tokenizer;
}

// The bytes that transformers trains, by generation blocks or by prefixes, for every template and conversation of the golden set.
static void test_trained_bytes_equal_those_of_transformers(void **state)
{
    (void)state;
    hone_tokenizer *tokenizer = load();
    hone_chat_text text = { 0 };
    json_t *all, *row;
    size_t i;
    int compared = 0;
    must(hone_json_load(GOLDEN "/cases.json", &all));
    json_array_foreach(json_object_get(all, "cases"), i, row) {
        const json_t *spans = json_object_get(row, "spans"), *variables = json_object_get(row, "variables");
        if (!json_is_array(spans)) continue;
        char path[512], *record = json_dumps(variables, JSON_COMPACT);
        hone_chat chat;
        snprintf(path, sizeof path, GOLDEN "/%s", json_string_value(json_object_get(row, "template")));
        must(hone_chat_open(&chat, test_folder(), path, tokenizer));
        must(hone_chat_mark(&chat, &(hone_chat_rules){ 0 }, record, strlen(record), "golden", tokenizer, &text));
        hone_jinja_span want[16];
        int64_t n = 0; // those that touch are one
        for (size_t k = 0; k < json_array_size(spans); k++) {
            const json_t *span = json_array_get(spans, k);
            size_t from = (size_t)json_integer_value(json_array_get(span, 0)), to = (size_t)json_integer_value(json_array_get(span, 1));
            if (n && want[n - 1].to == from) want[n - 1].to = to;
            else if (to > from) want[n++] = (hone_jinja_span){ .from = from, .to = to };
        }
        bool same = n == text.n_spans;
        for (int64_t k = 0; same && k < n; k++) same = want[k].from == text.span[k].from && want[k].to == text.span[k].to;
        if (!same) {
            char *wanted = json_dumps(spans, JSON_COMPACT);
            fail_msg("%s %s\n%s\nwanted %s, got %d spans, the first %zu to %zu", path, record, text.text.data, wanted, (int)text.n_spans, text.n_spans ? text.span[0].from : 0, text.n_spans ? text.span[0].to : 0);
        }
        compared++;
        hone_chat_close(&chat);
        hone_free(record);
    }
    assert_true(compared > 80);
    json_decref(all);
    hone_chat_text_release(&text);
    hone_tokenizer_free(tokenizer);
}

static char *trained_text(const char *record, const hone_chat_rules *rules, hone_chat_fate *fate)
{
    hone_tokenizer *tokenizer = load();
    hone_chat chat;
    hone_chat_text text = { 0 };
    hone_ids ids = { 0 }, trained = { 0 };
    hone_buffer out = { 0 };
    must(hone_chat_open(&chat, test_folder(), NULL, tokenizer));
    must(hone_chat_mark(&chat, rules, record, strlen(record), "r", tokenizer, &text));
    must(hone_chat_encode(rules, tokenizer, text.text.data, text.text.size, text.span, text.n_spans, &ids, &trained, fate));
    assert_int_equal(ids.count, trained.count);
    must(hone_buffer_append(&out, "", 0));
    for (int64_t i = 0; i < ids.count; i++) if (trained.data[i]) must(hone_tokenizer_decode(tokenizer, ids.data + i, 1, false, &out));
    hone_free(ids.data);
    hone_free(trained.data);
    hone_chat_text_release(&text);
    hone_chat_close(&chat);
    hone_tokenizer_free(tokenizer);
    return out.data;
}

static void expect(const char *record, const hone_chat_rules *rules, const char *want)
{
    hone_chat_fate fate;
    char *got = trained_text(record, rules, &fate);
    assert_int_equal(fate, HONE_CHAT_KEPT);
    assert_string_equal(got, want);
    hone_free(got);
}

static void test_every_form_of_record_trains_its_answers(void **state)
{
    (void)state;
    const hone_chat_rules rules = { 0 };
    const char *answer = "Hé.<|im_end|>\n";
    expect("{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}, {\"role\": \"assistant\", \"content\": \"Hé.\"}]}", &rules, answer);
    expect("{\"conversations\": [{\"from\": \"human\", \"value\": \"Hi\"}, {\"from\": \"gpt\", \"value\": \"Hé.\"}], \"system\": \"s\"}", &rules, answer);
    expect("{\"conversations\": [{\"role\": \"user\", \"content\": \"Hi\"}, {\"role\": \"assistant\", \"content\": \"Hé.\"}]}", &rules, answer);
    expect("{\"instruction\": \"Hi\", \"input\": \"there\", \"output\": \"Hé.\"}", &rules, answer);
    expect("{\"instruction\": \"Hi\", \"input\": \"\", \"output\": \"Hé.\", \"history\": [[\"q\", \"a\"]]}", &rules, "a<|im_end|>\nHé.<|im_end|>\n");
    expect("{\"prompt\": \"Hi\", \"completion\": \"Hé.\"}", &rules, answer);
    expect("{\"prompt\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"completion\": [{\"role\": \"assistant\", \"content\": \"Hé.\"}]}", &rules, answer);
    expect("{\"question\": \"Hi\", \"answer\": \"Hé.\", \"source\": 1}", &rules, answer);
    expect("{\"text\": \"Just text\"}", &rules, "Just text");
}

static void test_roles_weights_and_prompts_as_asked(void **state)
{
    (void)state;
    static const char talk[] = "{\"messages\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", \"content\": \"Hi\"}, {\"role\": \"assistant\", \"content\": \"A\", \"weight\": 0},"
                               " {\"role\": \"user\", \"content\": \"B\"}, {\"role\": \"assistant\", \"content\": \"C\", \"weight\": 1}]}";
    static const char *const both[] = { "user", "assistant" };
    expect(talk, &(hone_chat_rules){ 0 }, "C<|im_end|>\n");
    expect(talk, &(hone_chat_rules){ .role = both, .n_roles = 2 }, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>user\nB<|im_end|>\nC<|im_end|>\n");
    expect(talk, &(hone_chat_rules){ .train_on_prompt = true }, "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n<|im_start|>user\nB<|im_end|>\n"
                                                              "<|im_start|>assistant\nC<|im_end|>\n");
    hone_chat_fate fate;
    hone_free(trained_text("{\"messages\": [{\"role\": \"user\", \"content\": \"alone\"}]}", &(hone_chat_rules){ 0 }, &fate));
    assert_int_equal(fate, HONE_CHAT_MASKED);
    hone_free(trained_text(talk, &(hone_chat_rules){ .cutoff_len = 20 }, &fate));
    assert_int_equal(fate, HONE_CHAT_LONG);
}

static void test_records_that_are_no_conversations_are_refused_with_their_line(void **state)
{
    (void)state;
    static const struct { const char *line, *say; } wrong[] = {
        { "{\"messages\": []}", "r.jsonl:2: \"messages\" is no list" }, { "{\"messages\": [{\"content\": \"a\"}]}", "message 1 of \"messages\" has no \"role\"" },
        { "{\"messages\": [{\"role\": \"user\"}]}", "neither \"content\"" }, { "{\"conversations\": [{\"from\": \"alien\", \"value\": \"a\"}]}", "turn 1 is from \"alien\"" },
        { "{\"conversations\": [{\"from\": \"human\", \"value\": 3}]}", "\"value\" is no text" }, { "{\"instruction\": 1, \"output\": \"a\"}", "\"instruction\" is no text" },
        { "{\"title\": \"a\"}", "no conversation in the record" }, { "{\"messages\": ", "r.jsonl:2" }, { "[1]", "no JSON object" },
        { "{\"messages\": [{\"role\": \"user\", \"content\": [1]}]}", "r.jsonl:2: " } };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        hone_buffer lines = { 0 };
        must(hone_buffer_print(&lines, "{\"prompt\": \"a\", \"completion\": \"b\"}\n%s\n", wrong[i].line));
        must(hone_file_write(test_path("r.jsonl"), lines.data, lines.size));
        hone_buffer_release(&lines);
        verb_must_fail(wrong[i].say, (const char *const[]){ "prepare", "--chat", "--tokenizer", test_folder(), "--output", test_path("bad"), test_path("r.jsonl"), NULL });
        assert_false(hone_dir_exists(test_path("bad")));
    }
    static const char two[] = "{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}]}\n";
    must(hone_file_write(test_path("r.jsonl"), two, sizeof two - 1));
    verb_must_fail("1 of 2 conversations would be left out", (const char *const[]){ "prepare", "--chat", "--tokenizer", test_folder(), "--output", test_path("bad"), test_path("r.jsonl"), NULL });
    verb_must_fail("say --chat too", (const char *const[]){ "prepare", "--role", "user", "--tokenizer", test_folder(), "--output", test_path("bad"), test_path("r.jsonl"), NULL });
}

// From a file to the weights that training multiplies by: 1 exactly where the next token belongs to an answer.
static void test_prepared_conversations_weigh_answers_alone(void **state)
{
    (void)state;
    enum { COUNT = 50, T = 16 };
    hone_buffer lines = { 0 };
    for (int i = 0; i < COUNT; i++) must(hone_buffer_print(&lines, "{\"messages\": [{\"role\": \"user\", \"content\": \"q%d\"}, {\"role\": \"assistant\", \"content\": \"A%d\"}]}\n", i, i));
    must(hone_file_write(test_path("talks.jsonl"), lines.data, lines.size));
    hone_buffer_release(&lines);
    verb_must("trained", (const char *const[]){ "prepare", "--chat", "--tokenizer", test_folder(), "--held-out", "0", "--output", test_path("talks"), test_path("talks.jsonl"), NULL });
    hone_tokenizer *tokenizer = load();
    hone_loader loader;
    must(hone_loader_open(&loader, &(hone_loader_options){ .path = test_path("talks"), .order = HONE_ORDER_ONCE, .window = T, .isolation = true, .vocab = 4096, .eos = -1 }));
    assert_int_equal(loader.data.n_documents, COUNT);
    hone_buffer got = { 0 }, want = { 0 };
    int32_t target[T];
    float weight[T];
    for (int64_t r = 0; r < loader.windows; r++) {
        hone_batch batch = { .target = target, .weight = weight };
        must(hone_loader_next(&loader, 1, &batch));
        for (int t = 0; t < T; t++) if (weight[t] != 0) must(hone_tokenizer_decode(tokenizer, target + t, 1, false, &got));
    }
    for (int i = 0; i < COUNT; i++) must(hone_buffer_print(&want, "A%d<|im_end|>\n", i));
    assert_string_equal(got.data, want.data);
    hone_buffer_release(&got);
    hone_buffer_release(&want);
    hone_tokenizer_free(tokenizer);
    verb_must("trained", (const char *const[]){ "prepare", "--chat", "--train-on-prompt", "--tokenizer", test_folder(), "--held-out", "0", "--output", test_path("prompts"), test_path("talks.jsonl"), NULL });
    hone_mixture_source answers = { .loader = loader }, prompts = { 0 };
    must(hone_loader_open(&prompts.loader, &(hone_loader_options){ .path = test_path("prompts"), .window = T, .vocab = 4096, .eos = -1 }));
    assert_int_equal(prompts.loader.data.n_tokens, loader.data.n_tokens);
    assert_true(hone_mixture_hash(&(hone_mixture){ .source = &answers, .n_sources = 1 }) != hone_mixture_hash(&(hone_mixture){ .source = &prompts, .n_sources = 1 })); // a run on one does not go on with the other
    hone_loader_close(&prompts.loader);
    hone_loader_close(&loader);
    char *kept = hone_format("%s/chat_template.jinja", test_path("talks")), *there = test_read(kept), *own = test_read(test_path("chat_template.jinja"));
    assert_string_equal(there, own); // data explain themselves, and a model that is saved keeps its template
    hone_free(kept);
    hone_free(there);
    hone_free(own);
    char *path = hone_format("%s/train-00000-trained.bin", test_path("talks"));
    must(hone_file_write(path, "short", 5)); // the column is checked as the ids are
    assert_int_equal(hone_loader_open(&loader, &(hone_loader_options){ .path = test_path("talks"), .window = T, .vocab = 4096, .eos = -1 }), HONE_FAILED);
    assert_non_null(strstr(hone_error(), "train-00000-trained.bin"));
    hone_free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_trained_bytes_equal_those_of_transformers), cmocka_unit_test(test_every_form_of_record_trains_its_answers),
                                        cmocka_unit_test(test_roles_weights_and_prompts_as_asked), cmocka_unit_test(test_records_that_are_no_conversations_are_refused_with_their_line),
                                        cmocka_unit_test(test_prepared_conversations_weigh_answers_alone) };
    return cmocka_run_group_tests(tests, make_model, test_folder_remove);
}
