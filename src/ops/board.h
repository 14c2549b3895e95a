// board.h: `hone board`: the runs of a folder as a page in a browser, live.
//
//     runs.db --(read only)--> columns in memory --(buckets)--> JSON --> one page with everything in it
//
// A step is read from the store once and kept as columns of floats; a chart of any zoom is a walk over those, reduced to a
// few hundred buckets of (least, mean, most), so that 20 runs of 100,000 steps cost the browser no more than 20 of 1,000.
// Buckets are powers of two wide and lie on multiples of their width: a live run that grows changes its last bucket only.
//
// It only reads, and only GET. It listens at 127.0.0.1 unless told otherwise, answers only to its own names (a page of
// another site that points its name here gets nothing), and wants a token wherever it listens beyond this machine.
#pragma once
#include "base/json.h"

typedef struct hone_board_options {
    const char *dir;              // with runs.db in it; or, while there is none yet, where it will be
    const char *address;          // NULL: 127.0.0.1
    const char *name;             // a host name to answer to besides; NULL none
    const char *token;            // NULL: a random one where it is needed
    int port;                     // 0: any that is free
} hone_board_options;

typedef struct hone_board hone_board;

hone_status hone_board_start(hone_board **board, const hone_board_options *options);
const char *hone_board_url(const hone_board *board);      // token and all, to open in a browser
void hone_board_stop(hone_board *board);
