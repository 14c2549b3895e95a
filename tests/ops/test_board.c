// The board in a real browser: charts are drawn from what the store holds, live runs move, 20 runs of 100,000 steps are
// smooth, zooming shows more; and the server answers only to whom it should. HONE_PICTURES=FOLDER keeps screenshots.
#include "base/cpu.h"
#include "base/file.h"
#include "base/memory.h"
#include "ops/board.h"
#include "run/store.h"
#include "support/browser.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

// --- runs -------------------------------------------------------------------------------------------------------------

static void append(const char *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void append(const char *run, const char *format, ...)
{
    char text[2048];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    char *dir = hone_strdup(test_path(run)), *path = hone_path_join(dir, "log.jsonl");
    assert_int_equal(hone_dir_create(dir), HONE_OK);
    assert_int_equal(hone_file_append(path, text, (size_t)n), HONE_OK);
    hone_free(dir);
    hone_free(path);
}

static double loss_at(int step) { return 2 + 6 * exp(-step / 100.0) + (step % 7 ? 0 : 0.25); }

static void append_steps(const char *run, int from, int to)
{
    for (int s = from; s <= to; s++)
        append(run, "{\"event\":\"step\",\"time\":\"2026-01-31T12:00:%02dZ\",\"step\":%d,\"loss\":%.6f,\"bits_per_byte\":%.6f,\"learning_rate\":0.001,\"gradient_norm\":%.4f,"
               "\"tokens_per_second\":%d,\"share_of_peak\":0.7,\"resident_bytes\":536870912,\"elapsed_seconds\":%d,\"trained_tokens\":%d}\n",
               s % 60, s, loss_at(s), loss_at(s) / 2.8, 0.5 + 0.1 * (s % 3), 1900 + s % 50, 2 * s, 4096 * s);
}

static void import(void)
{
    hone_store *store;
    int64_t logs, rows;
    if (hone_store_open(&store, test_path("runs.db"), true) || hone_store_import_all(store, test_folder(), &logs, &rows)) fail_msg("%s", hone_error());
    hone_store_close(store);
}

static void begin_run(const char *run)
{
    append(run, "{\"event\":\"start\",\"time\":\"2026-01-31T12:00:00Z\",\"recipe\":{\"learning_rate\":0.001,\"max_steps\":400},\"plan\":{\"process_bytes\":545259520,"
           "\"tokens_per_second\":1850},\"machine\":{\"name\":\"here\",\"cpu\":\"A cpu\",\"threads\":2}}\n");
}

static char *url_of(hone_board *board, const char *path)
{
    char *url = hone_strdup(hone_board_url(board)), *slash = strchr(url + 7, '/');
    *slash = '\0';
    char *out = hone_format("%s%s", url, path);
    hone_free(url);
    return out;
}

static hone_board *start(const hone_board_options *options)
{
    hone_board *board;
    if (hone_board_start(&board, options)) fail_msg("%s", hone_error());
    return board;
}

static void keep_picture(browser *b, const char *name)
{
    const char *folder = getenv("HONE_PICTURES");
    if (!folder) return;
    char *path = hone_format("%s/board-%s.png", folder, name);
    browser_picture(b, path);
    hone_free(path);
}

// --- the server alone -------------------------------------------------------------------------------------------------

static int connect_to(hone_board *board)
{
    const char *colon = strrchr(hone_board_url(board), ':');
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

// Status code of a request; *body (may be NULL): hone_free() it.
static int request(hone_board *board, const char *method, const char *path, const char *headers, char **body)
{
    int fd = connect_to(board);
    char *text = hone_format("%s %s HTTP/1.1\r\n%sConnection: close\r\n\r\n", method, path, headers);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    hone_free(text);
    hone_buffer answer = { 0 };
    char part[4096];
    for (ssize_t n; (n = read(fd, part, sizeof part)) > 0;) assert_int_equal(hone_buffer_append(&answer, part, (size_t)n), HONE_OK);
    close(fd);
    assert_true(answer.size > 12);
    int code = atoi(answer.data + 9);
    char *begin = strstr(answer.data, "\r\n\r\n");
    if (body) *body = hone_strdup(begin ? begin + 4 : "");
    hone_buffer_release(&answer);
    return code;
}

static void test_only_its_own_host_names_and_only_reading(void **state)
{
    (void)state;
    hone_board *board = start(&(hone_board_options){ .dir = test_folder() });
    char *own = hone_format("Host: %s\r\n", strstr(hone_board_url(board), "//") + 2);
    *strchr(own, '/') = '\0';
    char *host = hone_format("%s\r\n", own);
    assert_int_equal(request(board, "GET", "/", host, NULL), 200);
    assert_int_equal(request(board, "HEAD", "/", host, NULL), 200);
    assert_int_equal(request(board, "GET", "/api/runs", "Host: localhost\r\n", NULL), 200);
    assert_int_equal(request(board, "GET", "/api/runs", "Host: evil.example\r\n", NULL), 403);
    assert_int_equal(request(board, "GET", "/api/runs", "Host: localhost.evil.example\r\n", NULL), 403);
    assert_int_equal(request(board, "GET", "/api/runs", "Host: 127.0.0.1:1\r\n", NULL), 403);
    assert_int_equal(request(board, "GET", "/api/runs", "Host: 192.168.0.1\r\n", NULL), 403);
    assert_int_equal(request(board, "GET", "/nothing", host, NULL), 404);
    assert_int_equal(request(board, "GET", "/../../etc/passwd", host, NULL), 404);
    char *post = hone_format("%sContent-Length: 3\r\n", host);
    assert_int_equal(request(board, "POST", "/api/runs", post, NULL), 405);
    assert_int_equal(request(board, "DELETE", "/api/runs", host, NULL), 405);
    char *body;
    assert_int_equal(request(board, "GET", "/api/series?runs=99,x,,-1&x=nonsense&width=-5&from=b&to=", host, &body), 200); // odd questions get empty answers
    hone_free(body);
    assert_int_equal(request(board, "GET", "/api/report?run=99", host, &body), 500);
    hone_free(body);
    hone_free(own);
    hone_free(host);
    hone_free(post);
    hone_board_stop(board);
}

// As many as the board serves at a time, each gone in the midst of its request, with nothing to read any more: their places are free at once.
static void test_clients_that_leave_in_the_midst_keep_no_place(void **state)
{
    (void)state;
    enum { PLACES = 64 };
    hone_board *board = start(&(hone_board_options){ .dir = test_folder() });
    int fd[PLACES];
    for (int i = 0; i < PLACES; i++) {
        fd[i] = connect_to(board);
        assert_int_equal(write(fd[i], "GET /api", 8), 8);
        shutdown(fd[i], SHUT_WR);
    }
    for (int i = 0; i < PLACES; i++) {
        const struct timeval most = { .tv_sec = 10 }; // a place that is kept is kept for 30 s
        char byte;
        setsockopt(fd[i], SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
        assert_true(recv(fd[i], &byte, 1, 0) >= 0 || errno == ECONNRESET);
        close(fd[i]);
    }
    assert_int_equal(request(board, "GET", "/api/runs", "Host: localhost\r\n", NULL), 200);
    hone_board_stop(board);
}

static void test_beyond_this_machine_a_token_is_wanted(void **state)
{
    (void)state;
    hone_board *board = start(&(hone_board_options){ .dir = test_folder(), .address = "0.0.0.0" });
    const char *token = strstr(hone_board_url(board), "token=");
    assert_non_null(token); // a random one
    assert_true(strlen(token) >= 6 + 32);
    char *with = hone_format("/?%s", token), *cookie = hone_format("Host: localhost\r\nCookie: hone_token=%s\r\n", token + 6), *bearer = hone_format("Host: 10.0.0.1\r\nAuthorization: Bearer %s\r\n", token + 6);
    char *wrong = hone_strdup(with);
    wrong[strlen(wrong) - 1] ^= 1;
    assert_int_equal(request(board, "GET", "/api/runs", "Host: localhost\r\n", NULL), 401);
    assert_int_equal(request(board, "GET", "/", "Host: localhost\r\n", NULL), 401);
    assert_int_equal(request(board, "GET", wrong, "Host: localhost\r\n", NULL), 401);
    assert_int_equal(request(board, "GET", with, "Host: localhost\r\n", NULL), 200);
    assert_int_equal(request(board, "GET", "/api/runs", cookie, NULL), 200);
    assert_int_equal(request(board, "GET", "/api/runs", bearer, NULL), 200);
    assert_int_equal(request(board, "GET", with, "Host: evil.example\r\n", NULL), 403);
    hone_free(with);
    hone_free(cookie);
    hone_free(bearer);
    hone_free(wrong);
    hone_board_stop(board);
    assert_int_equal(hone_board_start(&board, &(hone_board_options){ .dir = test_folder(), .token = "a b" }), HONE_USAGE);
    assert_int_equal(hone_board_start(&board, &(hone_board_options){ .dir = test_folder(), .address = "nowhere" }), HONE_USAGE);
}

// --- in the browser ---------------------------------------------------------------------------------------------------

static void test_charts_follow_a_live_run(void **state)
{
    (void)state;
    if (!browser_present()) { print_message("skipped: no chromium\n"); skip(); }
    begin_run("a");
    append_steps("a", 1, 200);
    append("a", "{\"event\":\"eval\",\"step\":100,\"loss\":4.25}\n{\"event\":\"eval\",\"step\":200,\"loss\":3.5}\n{\"event\":\"save\",\"step\":150,\"bytes\":1048576,\"seconds\":0.5}\n");
    append("a", "{\"event\":\"sample\",\"step\":200,\"text\":\"<img src=x onerror=window.hacked=1>Once & for all\"}\n");
    import();
    hone_board *board = start(&(hone_board_options){ .dir = test_folder() });
    char *url = url_of(board, "/#theme=light&tab=samples");
    browser b;
    browser_open(&b, 1400, 1200);
    browser_go(&b, url);
    if (!browser_wait(&b, "board.charts.loss.graph && board.draws", 30)) fail_msg("no chart was drawn");
    assert_true(browser_number(&b, "board.charts.loss.graph.xAxisExtremes()[1]") >= 190); // the last bucket begins there
    // what is drawn is what was logged: the bucket of step 1, and pixels in the run's colour
    assert_true(fabs(browser_number(&b, "board.data.loss[1].mid[0]") - loss_at(1)) < 1e-3);
    assert_true(fabs(browser_number(&b, "board.data.held_out[1].mid[1]") - 3.5) < 1e-6);
    assert_true(browser_number(&b, "(() => { const c = [...document.querySelectorAll('[data-metric=loss] canvas')].find(e => e.width > 300),"
                               " d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;"
                               " for (let i = 0; i < d.length; i += 4) n += d[i + 3] > 200 && d[i + 2] > d[i] + 60; return n; })()") > 100);
    // text from a run is text
    assert_true(browser_wait(&b, "document.getElementById('panel').textContent.includes('<img src=x onerror')", 10));
    assert_true(browser_number(&b, "window.hacked ? 1 : 0") == 0);
    keep_picture(&b, "light");
    append_steps("a", 201, 330);
    append("a", "{\"event\":\"sample\",\"step\":330,\"text\":\"A new sample\"}\n");
    begin_run("b");
    append_steps("b", 1, 50);
    import();
    if (!browser_wait(&b, "board.charts.loss.graph.xAxisExtremes()[1] >= 320 && board.charts.loss.graph.numColumns() === 3", 20)) fail_msg("the page did not follow");
    json_decref(browser_ask(&b, "document.querySelector('[data-run=\"1\"]').click()"));
    assert_true(browser_wait(&b, "document.getElementById('panel').textContent.includes('A new sample')", 10));
    // a resume takes steps back
    append("a", "{\"event\":\"resume\",\"from\":\"a/step-150\"}\n");
    append_steps("a", 151, 155);
    import();
    if (!browser_wait(&b, "board.runs[0].step === 155 && Math.max(...board.data.loss[1].x) <= 155", 20)) fail_msg("steps that were taken back are still shown");
    json_decref(browser_ask(&b, "[...document.querySelectorAll('#tabs button')].find(e => e.textContent === 'overview').click()"));
    assert_true(browser_wait(&b, "document.getElementById('panel').textContent.includes('520 MiB')", 10)); // predicted
    json_decref(browser_ask(&b, "document.getElementById('theme').click()"));
    assert_true(browser_wait(&b, "getComputedStyle(document.body).backgroundColor === 'rgb(18, 21, 26)'", 5));
    keep_picture(&b, "dark");
    json_decref(browser_ask(&b, "[...document.querySelectorAll('#axis button')].find(e => e.textContent === 'time').click()"));
    assert_true(browser_wait(&b, "Math.abs(board.charts.loss.graph.xAxisExtremes()[1] - 310) < 8", 10)); // 155 steps of 2 s
    browser_close(&b);
    hone_board_stop(board);
    hone_free(url);
}

// A store of its own with 20 long runs, written straight into its tables: only reading it is at stake.
static void make_long_runs(const char *dir, int runs, int steps)
{
    hone_store *store;
    assert_int_equal(hone_dir_create(dir), HONE_OK);
    char *path = hone_store_path_in(dir), *sql;
    if (hone_store_open(&store, path, true)) fail_msg("%s", hone_error());
    hone_store_close(store);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    sql = hone_format("PRAGMA synchronous=OFF; BEGIN; WITH r(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM r WHERE i < %d) INSERT INTO runs(id, folder, began, updated, event, recipe)"
                      " SELECT i, 'run-' || i, '2026-01-31T12:00:00Z', '2026-01-31T13:00:00Z', 'end', '{\"max_steps\":%d}' FROM r;"
                      " WITH r(i) AS (VALUES(1) UNION ALL SELECT i + 1 FROM r WHERE i < %d), s(n) AS (VALUES(1) UNION ALL SELECT n + 1 FROM s WHERE n < %d)"
                      " INSERT INTO steps(run, step, loss, learning_rate, gradient_norm, tokens_per_second, elapsed_seconds, trained_tokens)"
                      " SELECT i, n, 2 + i * 0.05 + 60.0 / (9 + n * 200.0 / %d) + (n * 7919 %% 101) / 500.0 + (n = 31415 * %d / 100000), 0.001, 0.5 + (n * 31 %% 17) / 30.0,"
                      " 1900 + n %% 97, n * 2.0, n * 4096.0 FROM r, s; COMMIT", runs, steps, runs, steps, steps, steps);
    char *why = NULL;
    if (sqlite3_exec(db, sql, NULL, NULL, &why)) fail_msg("%s", why);
    sqlite3_close(db);
    hone_free(sql);
    hone_free(path);
}

static void test_20_runs_of_100000_steps_are_smooth(void **state)
{
    (void)state;
    if (!browser_present()) { print_message("skipped: no chromium\n"); skip(); }
    enum { RUNS = 20, STEPS = 100000 };
    char *dir = hone_strdup(test_path("long"));
    make_long_runs(dir, RUNS, STEPS);
    hone_board *board = start(&(hone_board_options){ .dir = dir });
    browser b;
    browser_open(&b, 1400, 1200);
    double begin = hone_clock_s();
    browser_go(&b, hone_board_url(board));
    if (!browser_wait(&b, "board.draws && board.charts.loss.graph && board.charts.loss.graph.numColumns() === 21", 60)) fail_msg("no chart was drawn");
    double opened = hone_clock_s() - begin, points = browser_number(&b, "board.charts.loss.graph.numRows()");
    assert_true(points <= 1000); // what the browser holds of 100,000
    keep_picture(&b, "20-runs");
    // a single high step among 100,000 is seen at any zoom: the greatest of its bucket is kept
    assert_true(browser_number(&b, "Math.max(...board.data.loss[20].high.slice(board.data.loss[20].x.findIndex(x => x > 20000)))") > 4.0);
    double draw_ms = 1e9;
    for (int i = 0; i < 3; i++) draw_ms = fmin(draw_ms, browser_number(&b, "(() => { draw(); return board.drawMs; })()"));
    double zoomed = 1e9;
    for (int i = 0; i < 3; i++) { // a drag over a chart: asked anew at its resolution, all charts follow
        double draws = browser_number(&b, "board.draws");
        char *drawn = hone_format("!board.busy && board.draws > %g && board.from !== null && board.charts.gradient_norm.graph.xAxisRange()[0] === board.from", draws);
        json_t *place = browser_ask(&b, "(() => { const r = document.querySelector('[data-metric=loss] .plot').getBoundingClientRect(); return [r.x + 120, r.y + 80]; })()");
        double start_s = hone_clock_s();
        browser_drag(&b, json_number_value(json_array_get(place, 0)), json_number_value(json_array_get(place, 1)));
        if (!browser_wait(&b, drawn, 30)) fail_msg("the zoom was not drawn");
        zoomed = fmin(zoomed, hone_clock_s() - start_s);
        json_decref(place);
        hone_free(drawn);
    }
    assert_true(browser_number(&b, "board.data.loss[1].x[1] - board.data.loss[1].x[0]") < STEPS / points); // finer than before
    keep_picture(&b, "20-runs-zoomed");
    printf("  opened in %.2f s; %d charts redrawn in %.0f ms; zoom to picture %.2f s\n", opened, 10, draw_ms, zoomed);
    assert_true(draw_ms < 500); // smooth enough for a slider, on a machine that tests share
    assert_true(zoomed < 5);
    json_decref(browser_ask(&b, "document.getElementById('unzoom').click()"));
    assert_true(browser_wait(&b, "board.from === null && board.charts.loss.graph.xAxisExtremes()[1] > 99000", 20));
    browser_close(&b);
    hone_board_stop(board);
    hone_free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_its_own_host_names_and_only_reading),
        cmocka_unit_test(test_clients_that_leave_in_the_midst_keep_no_place),
        cmocka_unit_test(test_beyond_this_machine_a_token_is_wanted),
        cmocka_unit_test(test_charts_follow_a_live_run),
        cmocka_unit_test(test_20_runs_of_100000_steps_are_smooth),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
