// board.c: the server behind `hone board` (libmicrohttpd, one thread). See board.h.
#include "ops/board.h"
#include "base/memory.h"
#include "ops/board_data.h"
#include <arpa/inet.h>
#include <math.h>
#include <microhttpd.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { MOST_WIDTH = 4000, TOKEN_BYTES = 24 };

struct hone_board {
    hone_board_data *data;
    struct MHD_Daemon *daemon;
    hone_buffer page;                 // whole: the chart library is in it
    char *token, *name, *address, *url;
    bool local;                       // listens on this machine alone
    int port;
};

// board_page.S: files as they lay at build time.
extern const char hone_board_html[], hone_board_html_end[], hone_board_chart_js[], hone_board_chart_js_end[], hone_board_chart_css[], hone_board_chart_css_end[];

static hone_status append(hone_buffer *page, const char *from, const char *to) { return hone_buffer_append(page, from, (size_t)(to - from)); }

// The page with the library in the places that it names.
static hone_status make_page(hone_buffer *page)
{
    static const char css[] = "/*CHART_CSS*/", js[] = "/*CHART_JS*/";
    const char *at_css = memmem(hone_board_html, (size_t)(hone_board_html_end - hone_board_html), css, sizeof css - 1);
    const char *at_js = memmem(hone_board_html, (size_t)(hone_board_html_end - hone_board_html), js, sizeof js - 1);
    HONE_ASSERT(at_css && at_js && at_css < at_js, "board.html has no place for the chart library");
    hone_status status = append(page, hone_board_html, at_css);
    if (!status) status = append(page, hone_board_chart_css, hone_board_chart_css_end);
    if (!status) status = append(page, at_css + sizeof css - 1, at_js);
    if (!status) status = append(page, hone_board_chart_js, hone_board_chart_js_end);
    return status ? status : append(page, at_js + sizeof js - 1, hone_board_html_end);
}

// --- answers ----------------------------------------------------------------------------------------------------------

static enum MHD_Result answer(struct MHD_Connection *connection, const hone_board *board, unsigned code, const char *type, const char *text, size_t size, bool keeps)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(size, (void *)(uintptr_t)text, keeps ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_COPY);
    if (!response) return MHD_NO;
    MHD_add_response_header(response, "Content-Type", type);
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "X-Frame-Options", "DENY");
    MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    MHD_add_response_header(response, "Content-Security-Policy",
                            "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'");
    if (code == MHD_HTTP_METHOD_NOT_ALLOWED) MHD_add_response_header(response, "Allow", "GET, HEAD");
    if (keeps && board->token) { // so that what the page asks for later need not carry the token in its address
        char cookie[128];
        snprintf(cookie, sizeof cookie, "hone_token=%s; HttpOnly; SameSite=Strict; Path=/", board->token);
        MHD_add_response_header(response, "Set-Cookie", cookie);
    }
    enum MHD_Result done = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return done;
}

static enum MHD_Result say(struct MHD_Connection *connection, const hone_board *board, unsigned code, const char *text)
{
    return answer(connection, board, code, "text/plain; charset=utf-8", text, strlen(text), false);
}

static enum MHD_Result answer_json(struct MHD_Connection *connection, const hone_board *board, hone_status status, json_t *value)
{
    if (status) return say(connection, board, MHD_HTTP_INTERNAL_SERVER_ERROR, hone_error());
    char *text = hone_json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(9));
    json_decref(value);
    if (!text) return say(connection, board, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory");
    enum MHD_Result done = answer(connection, board, MHD_HTTP_OK, "application/json", text, strlen(text), false);
    hone_free(text);
    return done;
}

// --- who may ask ------------------------------------------------------------------------------------------------------

static bool is_address(const char *host)
{
    unsigned char unused[sizeof(struct in6_addr)];
    char bare[64];
    size_t n = strlen(host);
    if (host[0] == '[' && n < sizeof bare && host[n - 1] == ']') {
        snprintf(bare, sizeof bare, "%.*s", (int)(n - 2), host + 1);
        return inet_pton(AF_INET6, bare, unused) == 1;
    }
    return inet_pton(AF_INET, host, unused) == 1;
}

// The name that the browser was sent to. On this machine alone only its own loopback names will do: another site may have
// its name point here. Listening beyond, addresses cannot be pointed elsewhere, and of names only known ones are taken.
static bool host_is_ours(const hone_board *board, const char *header)
{
    char host[256], here[256] = "", port[16];
    if (!header || strlen(header) >= sizeof host) return false;
    snprintf(host, sizeof host, "%s", header);
    char *colon = strrchr(host, ':');
    if (colon && !strchr(colon, ']')) {
        snprintf(port, sizeof port, "%d", board->port);
        if (strcmp(colon + 1, port)) return false;
        *colon = '\0';
    }
    if (!strcasecmp(host, "localhost") || !strcmp(host, "127.0.0.1") || !strcmp(host, "[::1]")) return true;
    if (board->name && !strcasecmp(host, board->name)) return true;
    if (board->local) return false;
    gethostname(here, sizeof here - 1);
    return is_address(host) || (*here && !strcasecmp(host, here));
}

// In a time that does not tell how much of it was right.
static bool same_token(const char *a, const char *b)
{
    size_t n = a ? strlen(a) : 0, m = strlen(b);
    unsigned difference = n != m;
    for (size_t i = 0; i < m; i++) difference |= (unsigned)(unsigned char)(i < n ? a[i] : 0) ^ (unsigned)(unsigned char)b[i];
    return difference == 0;
}

static bool token_is_ours(const hone_board *board, struct MHD_Connection *connection)
{
    if (!board->token) return true;
    const char *bearer = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");
    if (bearer && strncmp(bearer, "Bearer ", 7) == 0 && same_token(bearer + 7, board->token)) return true;
    return same_token(MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "token"), board->token)
        || same_token(MHD_lookup_connection_value(connection, MHD_COOKIE_KIND, "hone_token"), board->token);
}

// --- questions --------------------------------------------------------------------------------------------------------

static const char *argument(struct MHD_Connection *connection, const char *name, const char *otherwise)
{
    const char *value = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, name);
    return value ? value : otherwise;
}

static double real_argument(struct MHD_Connection *connection, const char *name)
{
    const char *text = argument(connection, name, "");
    char *end;
    double value = strtod(text, &end);
    return *text && !*end && isfinite(value) ? value : NAN;
}

static enum MHD_Result answer_series(struct MHD_Connection *connection, hone_board *board)
{
    double width = real_argument(connection, "width");
    hone_board_query query = { .runs = argument(connection, "runs", ""), .x = argument(connection, "x", "step"), .from = real_argument(connection, "from"),
                               .to = real_argument(connection, "to"), .width = width >= 1 && width <= MOST_WIDTH ? (int)width : 300 };
    json_t *value = NULL;
    hone_status status = hone_board_data_series(board->data, &query, &value);
    return answer_json(connection, board, status, value);
}

static enum MHD_Result route(struct MHD_Connection *connection, hone_board *board, const char *path)
{
    json_t *value = NULL;
    if (!strcmp(path, "/")) return answer(connection, board, MHD_HTTP_OK, "text/html; charset=utf-8", board->page.data, board->page.size, true);
    if (!strcmp(path, "/api/metrics")) return answer_json(connection, board, HONE_OK, hone_board_data_metrics());
    if (!strcmp(path, "/api/series")) return answer_series(connection, board);
    hone_status status;
    if (!strcmp(path, "/api/runs")) status = hone_board_data_runs(board->data, &value);
    else if (!strcmp(path, "/api/events")) status = hone_board_data_events(board->data, argument(connection, "runs", ""), &value);
    else if (!strcmp(path, "/api/report")) status = hone_board_data_report(board->data, argument(connection, "run", ""), &value);
    else return say(connection, board, MHD_HTTP_NOT_FOUND, "not found");
    return answer_json(connection, board, status, value);
}

static enum MHD_Result handle(void *context, struct MHD_Connection *connection, const char *path, const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **state)
{
    hone_board *board = context;
    (void)version, (void)upload, (void)upload_size, (void)state;
    if (!host_is_ours(board, MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host")))
        return say(connection, board, MHD_HTTP_FORBIDDEN, "this board does not answer to that host name (hone board --host NAME)");
    if (strcmp(method, "GET") && strcmp(method, "HEAD")) return say(connection, board, MHD_HTTP_METHOD_NOT_ALLOWED, "this board only reads");
    if (!token_is_ours(board, connection)) return say(connection, board, MHD_HTTP_UNAUTHORIZED, "this board wants its token: open the address that `hone board` printed");
    hone_error_clear();
    return route(connection, board, path);
}

// --- life -------------------------------------------------------------------------------------------------------------

static char *make_token(void)
{
    unsigned char bytes[TOKEN_BYTES];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) { hone_fail("cannot make a token: no random numbers"); return NULL; }
    char *text = hone_alloc(2 * sizeof bytes + 1, 1);
    for (size_t i = 0; text && i < sizeof bytes; i++) snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    return text;
}

static hone_status check_token(const char *token)
{
    if (strlen(token) < 8 || strlen(token) > 64) return hone_fail_usage("board: --token: must have 8 to 64 characters");
    for (const char *at = token; *at; at++)
        if (!strchr("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.", *at))
            return hone_fail_usage("board: --token: letters, digits and - _ . only: it stands in an address");
    return HONE_OK;
}

static hone_status listen_at(hone_board *board, const hone_board_options *options)
{
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_PASSIVE, .ai_socktype = SOCK_STREAM }, *found = NULL;
    char port[16];
    snprintf(port, sizeof port, "%d", options->port);
    if (getaddrinfo(board->address, port, &hints, &found)) return hone_fail_usage("board: --bind %s: must be an address, as 0.0.0.0 or ::1", board->address);
    // poll, not epoll: with the latter libmicrohttpd (0.9.75) misses that a client left in the midst of a request, and keeps its place of 64 for 30 s.
    unsigned flags = MHD_USE_POLL_INTERNAL_THREAD | (found->ai_family == AF_INET6 ? MHD_USE_IPv6 : 0u);
    board->daemon = MHD_start_daemon(flags, (uint16_t)options->port, NULL, NULL, handle, board, MHD_OPTION_SOCK_ADDR, found->ai_addr,
                                     MHD_OPTION_CONNECTION_LIMIT, 64u, MHD_OPTION_CONNECTION_TIMEOUT, 30u, MHD_OPTION_END);
    freeaddrinfo(found);
    if (!board->daemon) return hone_fail("cannot listen at %s port %d: it may be in use; --port 0 takes a free one", board->address, options->port);
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(board->daemon, MHD_DAEMON_INFO_BIND_PORT);
    board->port = info ? info->port : options->port;
    return HONE_OK;
}

hone_status hone_board_start(hone_board **out, const hone_board_options *options)
{
    *out = NULL;
    if (options->port < 0 || options->port > 65535) return hone_fail_usage("board: --port %d: must be 0 to 65535", options->port);
    if (options->token && check_token(options->token)) return HONE_USAGE;
    hone_board *board = hone_alloc(1, sizeof *board);
    if (!board) return HONE_FAILED;
    const char *address = options->address ? options->address : "127.0.0.1";
    board->local = !strcmp(address, "127.0.0.1") || !strcmp(address, "::1");
    hone_status status = make_page(&board->page);
    if (!status) status = (board->address = hone_strdup(address)) && (board->data = hone_board_data_new(options->dir)) ? HONE_OK : HONE_FAILED;
    if (!status && options->name) status = (board->name = hone_strdup(options->name)) ? HONE_OK : HONE_FAILED;
    if (!status && (options->token || !board->local)) status = (board->token = options->token ? hone_strdup(options->token) : make_token()) ? HONE_OK : HONE_FAILED;
    if (!status) status = listen_at(board, options);
    if (!status) {
        const char *host = board->name ? board->name : !strcmp(address, "0.0.0.0") || !strcmp(address, "::") ? "localhost" : address;
        bool colons = strchr(host, ':') != NULL;
        board->url = hone_format("http://%s%s%s:%d/%s%s", colons ? "[" : "", host, colons ? "]" : "", board->port, board->token ? "?token=" : "", board->token ? board->token : "");
        status = board->url ? HONE_OK : HONE_FAILED;
    }
    if (status) hone_board_stop(board);
    else *out = board;
    return status;
}

const char *hone_board_url(const hone_board *board) { return board->url; }

void hone_board_stop(hone_board *board)
{
    if (!board) return;
    if (board->daemon) MHD_stop_daemon(board->daemon);
    hone_board_data_free(board->data);
    hone_buffer_release(&board->page);
    hone_free(board->token);
    hone_free(board->name);
    hone_free(board->address);
    hone_free(board->url);
    hone_free(board);
}
