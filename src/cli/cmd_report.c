// cmd_report.c: hone report: what a run came to, predicted beside measured (run/report.h).
#include "base/file.h"
#include "cli/args.h"
#include "cli/verbs.h"
#include "run/report.h"
#include <stdio.h>
#include <string.h>

// RUN is a folder with a log, else a number or name in the store of `dir`.
static hone_status make(const char *dir, const char *which, json_t **report)
{
    char *log = hone_path_join(which, "log.jsonl");
    if (!log) return HONE_FAILED;
    bool folder = hone_file_exists(log);
    hone_free(log);
    if (folder) return hone_report_of_folder(which, report);
    char *path = hone_store_path_in(dir);
    hone_store *store = NULL;
    json_t *run = NULL;
    hone_status status = path ? HONE_OK : HONE_FAILED;
    if (!status && !hone_file_exists(path)) status = hone_fail("%s: holds no log.jsonl; give a run's folder, or --dir for a run's number or name (%s is not there)", which, path);
    if (!status) status = hone_store_open(&store, path, false);
    if (!status) status = hone_store_find(store, which, &run);
    if (!status) status = hone_report_of_run(store, run, report);
    json_decref(run);
    hone_store_close(store);
    hone_free(path);
    return status;
}

hone_status hone_cmd_report(int argc, char **argv)
{
    const char *dir = ".", *format = "text";
    bool done;
    const hone_cli_option options[] = { { "format", HONE_CLI_TEXT, &format, "text|md|json", "a table, Markdown, or one JSON object" },
                                        { "dir", HONE_CLI_TEXT, &dir, "DIR", "where a run that is given by number or name is looked up (default: here)" }, { 0 } };
    const hone_cli_command command = { "report", "[options] RUN",
        "What a run came to, while it runs or after: predictions of its plan beside what was measured, losses, the course of\n"
        "the loss, checkpoints, events. RUN: its folder, or its number or name in the run store.",
        "hone report build/demo/run --format md", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (argc != 1) return hone_fail_usage("report: which run? hone report RUN");
    bool json = strcmp(format, "json") == 0, markdown = strcmp(format, "md") == 0;
    if (!json && !markdown && strcmp(format, "text")) return hone_fail_usage("report: --format %s: must be text, md or json", format);
    json_t *report;
    if ((status = make(dir, argv[0], &report))) return status;
    if (json) {
        status = hone_cli_print_json(report);
    } else {
        hone_buffer text = { 0 };
        if (!(status = hone_report_print(report, markdown ? HONE_REPORT_MARKDOWN : HONE_REPORT_TERMINAL, &text))) fputs(text.data, stdout);
        hone_buffer_release(&text);
    }
    json_decref(report);
    return status;
}
