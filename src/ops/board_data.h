// board_data.h: inside ops/ only: what the board knows of the runs, as JSON (board.h has the idea).
#pragma once
#include "run/store.h"

typedef struct hone_board_data hone_board_data;

hone_board_data *hone_board_data_new(const char *dir);
void hone_board_data_free(hone_board_data *data);

// All runs, newest last, without their columns; [] while there is no store.
hone_status hone_board_data_runs(hone_board_data *data, json_t **out);
// {"metric": {"run": {"x": [..], "low": [..], "mid": [..], "high": [..]}}} for `runs` ("1,2,3"), x: step, time or tokens,
// in about `width` buckets between from and to (NAN: all there is).
typedef struct hone_board_query { const char *runs, *x; double from, to; int width; } hone_board_query;
hone_status hone_board_data_series(hone_board_data *data, const hone_board_query *query, json_t **out);
// {"run": [events]}: the newest 100 of each.
hone_status hone_board_data_events(hone_board_data *data, const char *runs, json_t **out);
hone_status hone_board_data_report(hone_board_data *data, const char *run, json_t **out);
// [{name, title, unit}]: the charts.
json_t *hone_board_data_metrics(void);
