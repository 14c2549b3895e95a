// browser.c: see browser.h. Messages are JSON, ended by a zero byte: commands go to file descriptor 3, answers and events
// come from 4.
#include "support/browser.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/memory.h"
#include "support/cmocka_all.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const double PATIENCE_S = 90;   // on a machine that tests share

static const char *program(void)
{
    static const char *const places[] = { "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome" };
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (access(places[i], X_OK) == 0) return places[i];
    return NULL;
}

bool browser_present(void) { return program() != NULL; }

static json_t *receive(browser *b)
{
    hone_buffer text = { 0 };
    double end = hone_clock_s() + PATIENCE_S;
    for (;;) {
        char c;
        struct pollfd wait = { .fd = b->from, .events = POLLIN };
        if (hone_clock_s() > end || poll(&wait, 1, 1000) < 0) fail_msg("the browser is silent");
        if (!(wait.revents & (POLLIN | POLLHUP))) continue;
        if (read(b->from, &c, 1) != 1) fail_msg("the browser is gone");
        if (c == '\0') break;
        assert_int_equal(hone_buffer_append(&text, &c, 1), HONE_OK);
    }
    json_t *message = json_loadb(text.data, text.size, 0, NULL);
    assert_non_null(message);
    hone_buffer_release(&text);
    return message;
}

// The result of a command; events on the way are passed over. Takes `params`.
static json_t *command(browser *b, const char *method, json_t *params)
{
    json_t *message = json_pack("{s:i, s:s, s:o}", "id", ++b->id, "method", method, "params", params);
    if (b->session) json_object_set_new(message, "sessionId", json_string(b->session));
    char *text = json_dumps(message, JSON_COMPACT);
    assert_int_equal(write(b->to, text, strlen(text) + 1), strlen(text) + 1);
    hone_free(text);
    json_decref(message);
    for (;;) {
        json_t *answer = receive(b), *result = json_object_get(answer, "result");
        if (json_integer_value(json_object_get(answer, "id")) != b->id) { json_decref(answer); continue; }
        if (!result) fail_msg("%s: %s", method, json_string_value(json_object_get(json_object_get(answer, "error"), "message")));
        json_incref(result);
        json_decref(answer);
        return result;
    }
}

void browser_open(browser *b, int width, int height)
{
    int to[2], from[2];
    *b = (browser){ .profile = hone_strdup("/tmp/hone_browser_XXXXXX") };
    assert_non_null(mkdtemp(b->profile));
    assert_int_equal(pipe(to) | pipe(from), 0);
    char *profile = hone_format("--user-data-dir=%s", b->profile), *size = hone_format("--window-size=%d,%d", width, height);
    if ((b->pid = fork()) == 0) {
        int in = fcntl(to[0], F_DUPFD, 10), out = fcntl(from[1], F_DUPFD, 10), nothing = open("/dev/null", O_RDWR);
        setpgid(0, 0);
        dup2(in, 3);
        dup2(out, 4);
        for (int fd = 0; fd < 3; fd++) dup2(nothing, fd);
        for (int fd = 5; fd < 64; fd++) close(fd);
        execl(program(), "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
              "--disable-component-update", "--hide-scrollbars", "--remote-debugging-pipe", profile, size, (char *)NULL);
        _exit(127);
    }
    close(to[0]);
    close(from[1]);
    b->to = to[1];
    b->from = from[0];
    hone_free(profile);
    hone_free(size);
    json_t *target = command(b, "Target.createTarget", json_pack("{s:s}", "url", "about:blank"));
    json_t *session = command(b, "Target.attachToTarget", json_pack("{s:O, s:b}", "targetId", json_object_get(target, "targetId"), "flatten", 1));
    b->session = hone_strdup(json_string_value(json_object_get(session, "sessionId")));
    json_decref(target);
    json_decref(session);
    json_decref(command(b, "Emulation.setDeviceMetricsOverride", json_pack("{s:i, s:i, s:i, s:b}", "width", width, "height", height, "deviceScaleFactor", 1, "mobile", 0)));
}

void browser_close(browser *b)
{
    kill(-b->pid, SIGKILL);
    waitpid(b->pid, NULL, 0);
    close(b->to);
    close(b->from);
    for (int i = 0; i < 20 && hone_dir_remove(b->profile); i++) usleep(100000); // its children are still dying
    hone_free(b->session);
    hone_free(b->profile);
}

void browser_go(browser *b, const char *url) { json_decref(command(b, "Page.navigate", json_pack("{s:s}", "url", url))); }

json_t *browser_ask(browser *b, const char *expression)
{
    json_t *result = command(b, "Runtime.evaluate", json_pack("{s:s, s:b, s:b}", "expression", expression, "awaitPromise", 1, "returnByValue", 1));
    if (json_object_get(result, "exceptionDetails")) {
        char *text = json_dumps(json_object_get(result, "exceptionDetails"), JSON_COMPACT);
        fail_msg("%s: %s", expression, text);
    }
    json_t *value = json_object_get(json_object_get(result, "result"), "value");
    value = value ? json_incref(value) : json_null();
    json_decref(result);
    return value;
}

double browser_number(browser *b, const char *expression)
{
    json_t *value = browser_ask(b, expression);
    if (!json_is_number(value)) fail_msg("%s: is not a number", expression);
    double number = json_number_value(value);
    json_decref(value);
    return number;
}

bool browser_wait(browser *b, const char *expression, double seconds)
{
    double end = hone_clock_s() + seconds;
    char *truth = hone_format("(() => { try { return !!(%s); } catch (e) { return false; } })()", expression);
    bool is = false;
    while (!is && hone_clock_s() < end) {
        json_t *value = browser_ask(b, truth);
        is = json_is_true(value);
        json_decref(value);
        if (!is) usleep(100000);
    }
    hone_free(truth);
    return is;
}

static void mouse(browser *b, const char *type, double x, double y)
{
    json_decref(command(b, "Input.dispatchMouseEvent", json_pack("{s:s, s:f, s:f, s:s, s:i, s:i}", "type", type, "x", x, "y", y, "button", "left", "buttons", 1, "clickCount", 1)));
}

void browser_drag(browser *b, double x, double y)
{
    mouse(b, "mousePressed", x, y);
    for (int i = 1; i <= 5; i++) mouse(b, "mouseMoved", x + 30 * i, y);
    mouse(b, "mouseReleased", x + 150, y);
}

static int digit(char c) { return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : c >= '0' && c <= '9' ? c - '0' + 52 : c == '+' ? 62 : c == '/' ? 63 : -1; }

void browser_picture(browser *b, const char *path)
{
    json_t *result = command(b, "Page.captureScreenshot", json_pack("{s:s}", "format", "png"));
    const char *text = json_string_value(json_object_get(result, "data"));
    hone_buffer bytes = { 0 };
    unsigned bits = 0;
    for (int n = 0; *text && digit(*text) >= 0; text++) { // base64
        bits = bits << 6 | (unsigned)digit(*text);
        if (++n % 4 == 1) continue;
        char byte = (char)(bits >> (n % 4 == 2 ? 4 : n % 4 == 3 ? 2 : 0));
        assert_int_equal(hone_buffer_append(&bytes, &byte, 1), HONE_OK);
    }
    assert_int_equal(hone_file_write(path, bytes.data, bytes.size), HONE_OK);
    hone_buffer_release(&bytes);
    json_decref(result);
}
