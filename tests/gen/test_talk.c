// Conversations turn by turn, on the trained model stories260K with a template beside it.
#include "base/file.h"
#include "gen/talk.h"
#include "gen/turn_end.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"

#define MODEL HONE_SOURCE_DIR "/../shared/data/weights/stories260K/hf"
static const char plain[] = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}";

static int make_model(void **state)
{
    static const char *const file[] = { "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json" };
    if (test_folder_make(state)) return -1;
    for (size_t i = 0; i < sizeof file / sizeof *file; i++) {
        char *from = hone_path_join(MODEL, file[i]), *data;
        size_t size;
        must(hone_file_read(from, &data, &size));
        must(hone_file_write(test_path(file[i]), data, size));
        hone_free(data);
        hone_free(from);
    }
    must(hone_file_write(test_path("chat_template.jinja"), plain, sizeof plain - 1));
    return 0;
}

typedef struct { hone_buffer text; int shown, stop_behind; } listener;     // stop_behind: pieces of text; 0 never

static void hear(void *context, const char *text, size_t size)
{
    listener *l = context;
    l->shown++;
    assert_int_equal(hone_utf8_valid(text, size), size); // each piece alone: never half a character
    must(hone_buffer_append(&l->text, text, size));
}

static bool enough(void *context)
{
    const listener *l = context;
    return l->stop_behind && l->shown >= l->stop_behind;
}

typedef struct { hone_runner runner; hone_talk talk; } speaker;

static void open_talk(speaker *s, const hone_talk_options *options)
{
    must(hone_runner_open(&s->runner, test_folder()));
    must(hone_talk_open(&s->talk, &s->runner, options));
}

static void close_talk(speaker *s)
{
    hone_talk_close(&s->talk);
    hone_runner_close(&s->runner);
}

static hone_talk_turn say(speaker *s, const char *text, listener *l)
{
    hone_talk_turn turn;
    l->text.size = 0;
    l->shown = 0;
    must(hone_talk_say(&s->talk, text, strlen(text), &(hone_talk_hooks){ hear, enough, l }, &turn));
    return turn;
}

static const char *message(const speaker *s, size_t i)
{
    const json_t *list = json_object_get(s->talk.messages, "messages");
    const char *text = json_string_value(json_object_get(json_array_get(list, i), "content"));
    if (!text) fail_msg("there is no message %zu", i);
    return text;
}

static const hone_talk_options small = { .context = 300, .max_new = 40, .sampling = { .top_p = 1, .repetition_penalty = 1 } };

// A reply that is stopped stays as far as it was shown, and the next turn goes on behind it.
static void test_a_stopped_reply_stays_in_the_history(void **state)
{
    (void)state;
    speaker s, whole;
    listener l = { .stop_behind = 5 }, all = { 0 };
    open_talk(&s, &small);
    open_talk(&whole, &small);
    assert_int_equal(say(&s, "Once upon a time", &l).finish, HONE_FINISH_STOP);
    assert_int_equal(l.shown, 5);
    say(&whole, "Once upon a time", &all);
    assert_true(all.text.size > l.text.size && !memcmp(all.text.data, l.text.data, l.text.size));
    assert_string_equal(message(&s, 1), l.text.data);
    size_t had = l.text.size;
    l.stop_behind = 0;
    hone_talk_turn turn = say(&s, "", &l);          // an empty message: the story goes on where it was stopped
    assert_true(turn.stats.kept_tokens > 4);
    assert_int_equal(all.text.data[had], ' ');      // which a text of this tokenizer does not begin with
    assert_int_equal(strncmp(all.text.data + had + 1, l.text.data, all.text.size - had - 1), 0);
    close_talk(&whole);
    close_talk(&s);
    hone_buffer_release(&l.text);
    hone_buffer_release(&all.text);
}

static void test_the_oldest_turns_are_left_out_of_a_full_context(void **state)
{
    (void)state;
    speaker s;
    listener l = { 0 };
    hone_talk_turn turn;
    hone_talk_options options = small;
    options.system = "Lily and Tom.";
    options.context = 90;
    open_talk(&s, &options);
    assert_int_equal(say(&s, "Once upon a time", &l).left_out, 0);
    assert_int_equal(say(&s, "The dog", &l).left_out, 2);
    assert_string_equal(message(&s, 0), "Lily and Tom.");
    assert_string_equal(message(&s, 1), "The dog");
    hone_buffer far = { 0 };
    for (int i = 0; i < 60; i++) must(hone_buffer_append(&far, "a dog ", 6));
    assert_int_equal(hone_talk_say(&s.talk, far.data, far.size, &(hone_talk_hooks){ 0 }, &turn), HONE_FAILED);
    assert_says(hone_error(), "the context has 90");
    assert_int_equal(json_array_size(json_object_get(s.talk.messages, "messages")), 3);     // as it was
    must(hone_talk_clear(&s.talk));
    assert_int_equal(json_array_size(json_object_get(s.talk.messages, "messages")), 1);
    assert_int_equal(say(&s, "The dog", &l).left_out, 0);
    close_talk(&s);
    hone_buffer_release(&far);
    hone_buffer_release(&l.text);
}

// At a high temperature this model draws bytes of any kind.
static void test_what_is_shown_is_whole_characters(void **state)
{
    (void)state;
    speaker s;
    listener l = { 0 };
    hone_talk_options options = small;
    options.sampling.temperature = 9;
    options.max_new = 200;
    open_talk(&s, &options);
    for (int i = 0; i < 4; i++) {
        say(&s, "x", &l);
        must(hone_talk_clear(&s.talk));
    }
    assert_non_null(strstr(l.text.data, "\xef\xbf\xbd"));
    close_talk(&s);
    hone_buffer_release(&l.text);
}

static void test_a_template_that_takes_no_system_message_says_so_at_once(void **state)
{
    (void)state;
    static const char strict[] = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system message, please') }}{% endif %}{{ m.content }}{% endfor %}";
    must(hone_file_write(test_path("strict.jinja"), strict, sizeof strict - 1));
    speaker s;
    hone_talk_options options = small;
    options.template = test_path("strict.jinja");
    must(hone_runner_open(&s.runner, test_folder()));
    options.system = "Be kind.";
    assert_int_equal(hone_talk_open(&s.talk, &s.runner, &options), HONE_FAILED);
    assert_says(hone_error(), "no system message, please");
    hone_runner_close(&s.runner);
    options.system = NULL;
    open_talk(&s, &options);
    close_talk(&s);
}

// Ends come from config.json (2 here), generation_config.json and from behind an answer in the template.
static void test_ends_of_a_turn_are_gathered(void **state)
{
    (void)state;
    static const struct { const char *config, *template; int64_t n, last; } row[] = {
        { NULL, "{% for m in messages %}{{ m.content }}</s>{% endfor %}", 1, 2 },
        { "{\"eos_token_id\": 9}", "{% for m in messages %}{{ m.content }}\n{% endfor %}", 2, 9 },
        { "{\"eos_token_id\": [2, 9, 10]}", "{% for m in messages %}{{ m.content }}{% endfor %}", 3, 10 },
        { "{\"eos_token_id\": [9]}", "{% for m in messages %}{{ m.role }}: {{ m.content }}\n<s>\n{% endfor %}", 3, 1 },
        { "{\"eos_token_id\": 100000}", "{{ raise_exception('never') }}", 1, 2 } };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        hone_runner runner;
        hone_chat chat;
        if (row[i].config) must(hone_file_write(test_path("generation_config.json"), row[i].config, strlen(row[i].config)));
        must(hone_file_write(test_path("ends.jinja"), row[i].template, strlen(row[i].template)));
        must(hone_runner_open(&runner, test_folder()));
        must(hone_chat_open(&chat, test_folder(), test_path("ends.jinja"), runner.tokenizer));
        must(hone_turn_end_add(&runner, &chat));
        const hone_config *c = &runner.model.config;
        if (c->n_eos != row[i].n || c->eos[c->n_eos - 1] != row[i].last) fail_msg("row %zu: %d ends, the last %d", i, (int)c->n_eos, (int)c->eos[c->n_eos - 1]);
        hone_chat_close(&chat);
        hone_runner_close(&runner);
    }
}

int main(void)
{
    if (!hone_dir_exists(MODEL)) {
        print_message("skipped: no ../shared/data\n");
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_stopped_reply_stays_in_the_history),
        cmocka_unit_test(test_the_oldest_turns_are_left_out_of_a_full_context),
        cmocka_unit_test(test_what_is_shown_is_whole_characters),
        cmocka_unit_test(test_a_template_that_takes_no_system_message_says_so_at_once),
        cmocka_unit_test(test_ends_of_a_turn_are_gathered),
    };
    return cmocka_run_group_tests(tests, make_model, test_folder_remove);
}
