// test_chat_verb.c: chat and generate --chat as a user meets them: through a pipe, and on a terminal.
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/program.h"
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#define MODEL HONE_SOURCE_DIR "/../shared/data/weights/stories260K/hf"
static hone_test_run run;

static int make_template(void **state)
{
    static const char template[] = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}";
    if (test_folder_make(state)) return -1;
    must(hone_file_write(test_path("plain.jinja"), template, sizeof template - 1));
    return 0;
}

static void write_talk(const char *text) { must(hone_file_write(test_path("talk.txt"), text, strlen(text))); }

// What generate --chat answers to these messages in a process of its own.
static char *answer_of(json_t *messages)
{
    char *line = json_dumps(messages, JSON_COMPACT), *text = NULL;
    json_t *row = NULL;
    json_decref(messages);
    must(hone_file_write(test_path("messages.jsonl"), line, strlen(line)));
    hone_test_hone(&run, "generate '%s' --chat --chat-template '%s' --input '%s' --max-new-tokens 30", MODEL, test_path("plain.jinja"), test_path("messages.jsonl"));
    if (run.code || hone_json_parse("answer", run.out, strlen(run.out), &row)) fail_msg("%s", run.err);
    text = hone_strdup(json_string_value(json_object_get(row, "text")));
    json_decref(row);
    hone_free(line);
    return text;
}

// A line in, a reply out; the second turn reads the first, from the cache what is there.
static void test_a_pipe_gets_a_reply_for_each_line(void **state)
{
    (void)state;
    char *first = answer_of(json_pack("{s:[{s:s, s:s}]}", "messages", "role", "user", "content", "Once upon a time"));
    char *second = answer_of(json_pack("{s:[{s:s, s:s}, {s:s, s:s}, {s:s, s:s}]}", "messages", "role", "user", "content", "Once upon a time", "role", "assistant", "content", first,
                                       "role", "user", "content", " The dog"));
    char *alone = answer_of(json_pack("{s:[{s:s, s:s}, {s:s, s:s}]}", "messages", "role", "system", "content", "Lily.", "role", "user", "content", " The dog"));
    char *expected = hone_format("%s\n%s\n", first, second), *cleared = hone_format("%s\n", alone);
    write_talk("Once upon a time\n The dog\n");
    hone_test_hone(&run, "chat '%s' --chat-template '%s' --max-new-tokens 30 < '%s'", MODEL, test_path("plain.jinja"), test_path("talk.txt"));
    assert_int_equal(run.code, 0);
    assert_string_equal(run.out, expected);
    int replies = 0, prompt = 0, kept = 0;
    const char *said = strstr(run.err, "chat  ");
    assert_non_null(said);
    assert_int_equal(sscanf(said, "chat %d replies load %*f s prompt %d tokens, %d of them kept", &replies, &prompt, &kept), 3);
    assert_int_equal(replies, 2);
    assert_in_range(kept, 30, prompt - 1);

    write_talk("/clear\n\n/help\n/wrong\n The dog\n/exit\nnever read\n");
    hone_test_hone(&run, "chat '%s' --chat-template '%s' --max-new-tokens 30 --system Lily. < '%s'", MODEL, test_path("plain.jinja"), test_path("talk.txt"));
    assert_int_equal(run.code, 0);
    assert_string_equal(run.out, cleared);
    assert_says(run.err, "/clear    forgets");
    assert_says(run.err, "/wrong is no command");

    hone_test_hone(&run, "generate '%s' --chat --chat-template '%s' --prompt 'Once upon a time' --max-new-tokens 30", MODEL, test_path("plain.jinja"));
    assert_string_equal(run.out, first);        // the answer alone
    hone_free(first);
    hone_free(second);
    hone_free(alone);
    hone_free(expected);
    hone_free(cleared);
}

static void test_a_line_that_ends_in_a_backslash_goes_on(void **state)
{
    (void)state;
    char *expected = answer_of(json_pack("{s:[{s:s, s:s}]}", "messages", "role", "user", "content", "Lily was\nsad. The end\nThe dog"));
    write_talk("Lily was\\\nsad. The end\\\nThe dog\n");
    hone_test_hone(&run, "chat '%s' --chat-template '%s' --max-new-tokens 30 < '%s'", MODEL, test_path("plain.jinja"), test_path("talk.txt"));
    assert_int_equal(strncmp(run.out, expected, strlen(expected)), 0);
    assert_int_equal(strlen(run.out), strlen(expected) + 1);
    hone_free(expected);
}

static void refuse(int code, const char *part, const char *command)
{
    hone_test_hone(&run, "%s < /dev/null", command);
    if (run.code != code || !strstr(run.err, part)) fail_msg("%s: exit %d, not %d with \"%s\": %s", command, run.code, code, part, run.err);
    assert_string_equal(run.out, "");
}

static void test_what_cannot_be_done_is_said(void **state)
{
    (void)state;
    refuse(2, "give one model", "chat");
    refuse(2, "--max-new-tokens -1", "chat x --max-new-tokens -1");
    refuse(2, "--context 1:", "chat x --context 1");
    refuse(2, "temperature -1", "chat x --temperature -1");
    refuse(2, "empty string", "chat x --stop ''");
    refuse(2, "say --chat too", "generate x --prompt a --chat-template b");
    refuse(1, "/nowhere: no such folder", "chat /nowhere");
    refuse(1, "has no chat template", "chat '" MODEL "'");
    refuse(1, "--chat-template FILE", "generate '" MODEL "' --chat --prompt a");
    char *command = hone_format("chat '%s' --chat-template '%s' --context 600", MODEL, test_path("plain.jinja"));
    refuse(2, "--context 600: the model has 512 positions", command);
    hone_free(command);
    command = hone_format("chat '%s' --chat-template '%s' --max-new-tokens 512", MODEL, test_path("plain.jinja"));
    refuse(2, "leaves nothing of the context of 512", command);
    hone_free(command);
    must(hone_file_write(test_path("bad.jsonl"), "{\"prompt\": \"a\"}\n{\"messages\": []}\n", 34));
    command = hone_format("generate '%s' --chat --chat-template '%s' --input '%s'", MODEL, test_path("plain.jinja"), test_path("bad.jsonl"));
    refuse(1, "bad.jsonl:2: \"messages\" is no list of messages", command);
    hone_free(command);
}

// Where nobody says how tokens are drawn, generation_config.json does; what is drawn is what the options would draw.
static void test_the_model_says_how_tokens_are_drawn(void **state)
{
    (void)state;
    static const char *const file[] = { "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json" };
    static const char drawn[] = "{\"do_sample\": true, \"temperature\": 1.5, \"top_k\": 40, \"min_p\": null, \"repetition_penalty\": 1.25}";
    static const char penalty[] = "{\"temperature\": 1.5, \"repetition_penalty\": 1.25}", bad[] = "{\"do_sample\": true, \"top_p\": 1.5}";
    must(hone_dir_create(test_path("model")));
    for (size_t i = 0; i < sizeof file / sizeof *file; i++) {
        char *from = hone_path_join(MODEL, file[i]), *to = hone_path_join(test_path("model"), file[i]);
        assert_int_equal(symlink(from, to), 0);
        hone_free(from);
        hone_free(to);
    }
    char *command = hone_format("generate '%s' --chat --chat-template '%s' --prompt 'Once upon a time' --max-new-tokens 40", test_path("model"), test_path("plain.jinja"));
    char *talk = hone_format("chat '%s' --chat-template '%s' --max-new-tokens 40 < '%s'", test_path("model"), test_path("plain.jinja"), test_path("talk.txt"));
    hone_test_hone(&run, "%s --temperature 1.5 --top-k 40 --repetition-penalty 1.25", command);
    char *as_given = hone_strdup(run.out);
    hone_test_hone(&run, "%s --repetition-penalty 1.25", command);
    char *as_penalised = hone_strdup(run.out);
    hone_test_hone(&run, "%s", command);
    char *greedy = hone_strdup(run.out);
    assert_null(strstr(run.err, "sampling"));
    assert_string_not_equal(as_given, greedy);

    must(hone_file_write(test_path("model/generation_config.json"), drawn, sizeof drawn - 1));
    hone_test_hone(&run, "%s", command);
    assert_string_equal(run.out, as_given);
    assert_says(run.err, "sampling  temperature 1.5  top-k 40  repetition-penalty 1.25  (the model's generation_config.json)");
    hone_test_hone(&run, "%s --temperature 0", command);    // said by hand: nothing of the file holds
    assert_string_equal(run.out, greedy);
    assert_null(strstr(run.err, "sampling"));
    write_talk("Once upon a time\n");
    hone_test_hone(&run, "%s", talk);
    assert_int_equal(strncmp(run.out, as_given, strlen(as_given)), 0);
    assert_says(run.err, "top-k 40");

    must(hone_file_write(test_path("model/generation_config.json"), penalty, sizeof penalty - 1));   // do_sample is false where it is absent
    hone_test_hone(&run, "%s", command);
    assert_string_equal(run.out, as_penalised);
    must(hone_file_write(test_path("model/generation_config.json"), bad, sizeof bad - 1));
    hone_test_hone(&run, "%s", command);
    assert_int_equal(run.code, 1);
    assert_says(run.err, "generation_config.json: top_p 1.5; it must be in (0, 1]");
    hone_free(command);
    hone_free(talk);
    hone_free(as_given);
    hone_free(as_penalised);
    hone_free(greedy);
}

// --- on a terminal

typedef struct { pid_t pid; int fd; hone_buffer said; } screen;

static void open_screen(screen *s)
{
    *s = (screen){ 0 };
    s->pid = forkpty(&s->fd, NULL, NULL, NULL);
    assert_true(s->pid >= 0);
    if (s->pid) return;
    setenv("NO_COLOR", "1", 1);
    execl(HONE_BINARY_DIR "/hone", "hone", "chat", MODEL, "--chat-template", test_path("plain.jinja"), "--max-new-tokens", "30", (char *)NULL);
    _exit(127);
}

// Reads on until what is new ends with these words; "" until the program ends.
static void await(screen *s, const char *words)
{
    size_t n = strlen(words), from = s->said.size;
    char piece[4096];
    bool there = false;
    while (!there) {
        struct pollfd in = { .fd = s->fd, .events = POLLIN };
        if (poll(&in, 1, 60000) == 0) fail_msg("the screen never ends with \"%s\": %s", words, s->said.size ? s->said.data : "");
        ssize_t got = read(s->fd, piece, sizeof piece);
        if (got <= 0) break;                // the program has ended
        must(hone_buffer_append(&s->said, piece, (size_t)got));
        there = n && s->said.size >= from + n && !memcmp(s->said.data + s->said.size - n, words, n);
    }
    if (n && !there) fail_msg("it ended: %s", s->said.size ? s->said.data : "");
}

static void type(const screen *s, const char *keys) { assert_int_equal(write(s->fd, keys, strlen(keys)), (ssize_t)strlen(keys)); }

static void end_screen(screen *s)
{
    int status;
    await(s, "");
    assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status)) fail_msg("status %d: %s", status, s->said.data);
    close(s->fd);
    hone_buffer_release(&s->said);
}

static void test_ctrl_d_ends_and_ctrl_c_twice_does(void **state)
{
    (void)state;
    screen s;
    open_screen(&s);
    await(&s, "\r\n\r\n> ");
    assert_says(s.said.data, "llama 260k  context of 512 tokens");
    type(&s, "Once upon a time\n");
    await(&s, "\r\n\r\n> ");
    assert_says(s.said.data, "girl named Lily.");
    assert_says(s.said.data, "\r\n(cut at 30 tokens; --max-new-tokens)\r\n");
    type(&s, "not this\\\n");
    await(&s, "\r\n. ");
    type(&s, "\x03");
    await(&s, "Ctrl-C once more, or Ctrl-D, ends\r\n> ");
    type(&s, "/clear\n");                   // in between something was said: the count begins anew
    await(&s, "/clear\r\n> ");
    type(&s, "\x03");
    await(&s, "ends\r\n> ");
    type(&s, "\x03");
    end_screen(&s);
    open_screen(&s);
    await(&s, "\r\n\r\n> ");
    type(&s, "\x04");
    end_screen(&s);
}

int main(void)
{
    if (!hone_dir_exists(MODEL)) {
        print_message("skipped: no ../shared/data\n");
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_pipe_gets_a_reply_for_each_line),
        cmocka_unit_test(test_a_line_that_ends_in_a_backslash_goes_on),
        cmocka_unit_test(test_what_cannot_be_done_is_said),
        cmocka_unit_test(test_the_model_says_how_tokens_are_drawn),
        cmocka_unit_test(test_ctrl_d_ends_and_ctrl_c_twice_does),
    };
    return cmocka_run_group_tests(tests, make_template, test_folder_remove);
}
