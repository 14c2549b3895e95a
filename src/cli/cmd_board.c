// cmd_board.c: hone board: the runs of a folder in a browser (ops/board.h).
#include "base/file.h"
#include "cli/args.h"
#include "cli/verbs.h"
#include "ops/board.h"
#include "run/stop.h"
#include <stdio.h>
#include <unistd.h>

hone_status hone_cmd_board(int argc, char **argv)
{
    hone_board_options o = { 0 };
    int64_t port = 8765;
    bool done;
    const hone_cli_option options[] = {
        { "port", HONE_CLI_INT, &port, "N", "port (default 8765; 0: any that is free)" },
        { "bind", HONE_CLI_TEXT, &o.address, "ADDRESS", "listen at this address of the machine, 0.0.0.0 for all; wants a token then" },
        { "token", HONE_CLI_TEXT, &o.token, "TEXT", "the token (default: none at 127.0.0.1, else a random one)" },
        { "host", HONE_CLI_TEXT, &o.name, "NAME", "a host name to answer to, as of a proxy in front" }, { 0 } };
    const hone_cli_command command = { "board", "[options] [DIR]",
        "Shows the runs of a folder (default: here) as a page for the browser: charts that follow live runs, samples, checkpoints,\n"
        "events, predicted beside measured. Only reads. Listens at 127.0.0.1 until Ctrl-C.",
        "hone board build/demo --port 8765", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (argc > 1) return hone_fail_usage("board: one DIR at most");
    if (port < 0 || port > 65535) return hone_fail_usage("board: --port %lld: must be 0 to 65535", (long long)port);
    o.dir = argc ? argv[0] : ".";
    o.port = (int)port;
    if (!hone_dir_exists(o.dir) && !hone_file_exists(o.dir)) return hone_fail("%s: is not there; give the folder that holds the runs", o.dir);
    hone_board *board;
    hone_stop_watch(HONE_STOP_TERM);
    if (!(status = hone_board_start(&board, &o))) {
        printf("hone board  %s\n  %s  (Ctrl-C ends it)\n", o.dir, hone_board_url(board));
        fflush(stdout);
        while (!hone_stop_asked(NULL)) usleep(100000);
        hone_board_stop(board);
    }
    hone_stop_unwatch();
    return status;
}
