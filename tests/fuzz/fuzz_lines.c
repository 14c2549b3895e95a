// JSONL of texts and ids, as generate, score and eval read it: any bytes are lines or refused with their number.
#include "fuzz/pieces.h"
#include "gen/lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const keys[] = { "prompt", "text", NULL };
    char path[128];
    hone_lines lines;
    hone_line line;
    hone_status status;
    fuzz_file("lines.jsonl", data, size);
    snprintf(path, sizeof path, "%s/lines.jsonl", fuzz_folder());
    FUZZ_HOLDS(hone_lines_open(&lines, path) == HONE_OK);
    hone_error_clear();
    while (hone_lines_next(&lines, &line, &status)) {
        const char *text;
        hone_ids ids = { 0 };
        if (hone_line_content(&line, keys, &text, &ids)) FUZZ_HOLDS(strncmp(hone_error(), line.where, strlen(line.where)) == 0);
        else FUZZ_HOLDS((text != NULL) != (ids.data != NULL));
        hone_free(ids.data);
        hone_line_release(&line);
    }
    FUZZ_HOLDS(!status || strncmp(hone_error(), path, strlen(path)) == 0);
    FUZZ_HOLDS(status || lines.at >= lines.map.size);
    hone_lines_close(&lines);
    return 0;
}
