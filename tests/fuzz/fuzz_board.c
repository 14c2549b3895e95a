// The board's port: any bytes that a program of this machine may send are answered or refused, and the next request is served.
// What arrives is taken apart by libmicrohttpd, its address and header lines by board.c, numbers of runs by board_data.c.
//
//     byte 0   even: the bytes as they are     odd: an address, for a request that is right otherwise
#include "fuzz/pieces.h"
#include "ops/board.h"
#include "run/store.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/time.h>

static hone_board *board;
static int port;

static void open_board(void)
{
    static const char log[] = "{\"event\": \"start\", \"time\": \"2026-01-31T12:00:00Z\", \"recipe\": {\"max_steps\": 3}}\n"
        "{\"event\": \"step\", \"time\": \"2026-01-31T12:00:01Z\", \"step\": 1, \"loss\": 2.5, \"trained_tokens\": 64}\n"
        "{\"event\": \"step\", \"time\": \"2026-01-31T12:00:02Z\", \"step\": 2, \"loss\": 2.25, \"trained_tokens\": 128}\n"
        "{\"event\": \"eval\", \"time\": \"2026-01-31T12:00:03Z\", \"step\": 2, \"loss\": 2.125}\n{\"event\": \"stop\", \"time\": \"2026-01-31T12:00:04Z\", \"step\": 2}\n";
    hone_store *store;
    char *path = hone_path_join(fuzz_folder(), "runs.db");
    FUZZ_HOLDS(hone_store_open(&store, path, true) == HONE_OK);
    fuzz_file("log.jsonl", log, sizeof log - 1);
    FUZZ_HOLDS(hone_store_import(store, fuzz_folder(), NULL) == HONE_OK);
    hone_store_close(store);
    hone_free(path);
    FUZZ_HOLDS(hone_board_start(&board, &(hone_board_options){ .dir = fuzz_folder() }) == HONE_OK);
    port = atoi(strrchr(hone_board_url(board), ':') + 1);
}

// Waits at most so long: a request that is cut short is answered by nobody.
static size_t ask(const char *request, size_t size, char *answer, size_t room, struct timeval most)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t got = 0;
    FUZZ_HOLDS(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0);
    for (size_t at = 0; at < size;) { // it may hang up in the midst
        ssize_t n = send(fd, request + at, size - at, MSG_NOSIGNAL);
        if (n <= 0) break;
        at += (size_t)n;
    }
    FUZZ_HOLDS(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most) == 0);
    for (ssize_t n; got < room && (n = recv(fd, answer + got, room - got, 0)) > 0;) got += (size_t)n;
    close(fd);
    return got;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char answer[1 << 20];
    static const char known[] = "GET /api/metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    if (size < 1) return 0;
    if (!board) open_board();
    hone_buffer request = { 0 };
    if (data[0] & 1) FUZZ_HOLDS(hone_buffer_print(&request, "GET /api/") == HONE_OK);
    FUZZ_HOLDS(hone_buffer_append(&request, data + 1, size - 1) == HONE_OK);
    FUZZ_HOLDS(hone_buffer_print(&request, "%s\r\n\r\n", data[0] & 1 ? " HTTP/1.0\r\nHost: localhost" : "") == HONE_OK);
    ask(request.data, request.size, answer, sizeof answer, (struct timeval){ .tv_usec = 2000 });
    hone_buffer_release(&request);
    if (data[0] & 2) return 0; // half as often
    FUZZ_HOLDS(ask(known, sizeof known - 1, answer, sizeof answer, (struct timeval){ .tv_sec = 10 }) > 15 && memcmp(answer, "HTTP/1.1 200 OK", 15) == 0);
    return 0;
}
