// Files of questions (hone eval --tasks), one of each layout: any bytes are questions or refused with file and line.
#include "fuzz/pieces.h"
#include "gen/task.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct { const char *task, *file; } layout[] = {
        { "piqa", "piqa.jsonl" }, { "hellaswag", "hellaswag.txt" }, { "mmlu", "mmlu/a_test.csv" }, { "winogrande", "winogrande.jsonl" }, { "medqa", "medqa.jsonl" } };
    enum { LAYOUTS = sizeof layout / sizeof *layout };
    char path[128];
    hone_questions all;
    const hone_task *task;
    if (size == 0) return 0;
    int k = data[0] % LAYOUTS;
    snprintf(path, sizeof path, "%s/mmlu", fuzz_folder());
    FUZZ_HOLDS(hone_dir_create(path) == HONE_OK);
    fuzz_file(layout[k].file, data + 1, size - 1);
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), layout[k].file);
    FUZZ_HOLDS(hone_task_find(layout[k].task, &task) == HONE_OK);
    hone_error_clear();
    if (hone_task_load(task, fuzz_folder(), 0, -1, &all)) FUZZ_HOLDS(strncmp(hone_error(), path, strlen(path)) == 0);
    else FUZZ_HOLDS(all.count > 0);
    for (int64_t i = 0; i < all.count && k == 0; i++) {
        bool strict, flexible;
        if (all.question[i].n_prompt && all.question[i].n_answer) FUZZ_HOLDS(hone_task_match(all.question[i].prompt[0], all.question[i].answer[0], &strict, &flexible) == HONE_OK);
    }
    hone_questions_release(&all);
    return 0;
}
