// task.h: questions with known answers, out of files (tasks.def): what stands in front of each answer, and which is right.
//
//     file -> record (JSON) -> prompts x answers as texts
#pragma once
#include "base/json.h"
#include "base/memory.h"

typedef enum { HONE_MEASURE_CHOICE, HONE_MEASURE_NORMED, HONE_MEASURE_WORD, HONE_MEASURE_SOLVE } hone_measure;

typedef struct hone_task { // a row of tasks.def
    const char *name, *files, *columns, *trimmed, *start, *prompt, *answers, *gold;
    int first;
    hone_measure measure;
    int shots;
    const char *examples, *what;
} hone_task;
const hone_task *hone_task_at(int index);                               // NULL behind the last
hone_status hone_task_find(const char *name, const hone_task **task);   // an unknown one is refused with the nearest

typedef struct hone_question {
    char **prompt, **answer;        // texts; the answers without the space in front of them
    int64_t n_prompt, n_answer;     // one of them is 1
    int64_t gold, part;
} hone_question;
typedef struct hone_questions {
    const hone_task *task;
    char **part; int64_t n_part, part_capacity;         // names of files
    hone_question *question; int64_t count, capacity;
} hone_questions;

bool hone_task_has_files(const hone_task *task, const char *folder);
// The first `limit` questions of each file (0: all), with `shots` worked examples in front (-1: as many as the task has).
hone_status hone_task_load(const hone_task *task, const char *folder, int64_t limit, int64_t shots, hone_questions *questions);
void hone_questions_release(hone_questions *questions);

// Records of a file, one at a time: a JSON object each, whatever the file is. where: "path:line".
typedef struct hone_task_rows {
    const char *path, *columns;
    char *text; size_t size, at;
    int64_t line;
    char where[512];
} hone_task_rows;
hone_status hone_task_rows_open(hone_task_rows *rows, const char *path, const char *columns);
void hone_task_rows_close(hone_task_rows *rows);
hone_status hone_task_rows_next(hone_task_rows *rows, json_t **record); // NULL at the end

// Does what a model wrote hold the number of the reference (behind ####)? strict: behind its first ####; flexible: its last number.
hone_status hone_task_match(const char *text, const char *reference, bool *strict, bool *flexible);
