// record.c: what a run leaves for those who look at it: who ran what on which machine, and the thread that keeps the run
// store up with the log (run/recorder.h).
#include "base/cpu.h"
#include "train/run.h"
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static json_t *describe_machine(const hone_run *run)
{
    char name[256] = "";
    gethostname(name, sizeof name - 1);
    hone_isa isa = HONE_ISA_PORTABLE;
    int threads = (int)run->recipe->threads;
    if (threads <= 0) hone_cpu_threads(&threads);
    hone_cpu_isa(&isa);
    return json_pack("{s:s, s:s, s:i, s:i, s:s, s:I, s:I}", "name", name, "cpu", hone_cpu()->model, "cores", hone_cpu()->cores, "threads", threads,
                     "instructions", hone_isa_name[isa], "memory_bytes", (json_int_t)hone_memory_total_bytes(), "pid", (json_int_t)getpid());
}

void hone_run_describe(const hone_run *run, json_t *row)
{
    if (!row) return;
    json_object_set_new(row, "machine", describe_machine(run));
    json_object_set_new(row, "data_hash", json_sprintf("%016" PRIx64, hone_mixture_hash(&run->job.train)));
    json_object_set_new(row, "program_hash", json_sprintf("%016" PRIx64, hone_checkpoint_hash_programs(run->job.graph)));
    json_object_set_new(row, "model_type", json_string(run->job.config.family->model_type));
}

void hone_run_open_record(hone_run *run)
{
    if (strcmp(run->recipe->run_store, "none") == 0) return;
    hone_recorder_open(&run->recorder, run->recipe->run_store, run->recipe->output_dir);
}

void hone_run_watch_record(hone_run *run)
{
    const char *warning = hone_recorder_take_warning(run->recorder);
    if (warning) hone_progress_say(&run->progress, "  warning: %s", warning);
}

// The error that ends a run is a row too. The message stays as it is.
void hone_run_close_record(hone_run *run, hone_status status)
{
    if (status == HONE_FAILED && run->log.path) {
        char *message = hone_strdup(hone_error());
        if (message) {
            if (hone_log_add(&run->log, "failed", json_pack("{s:I, s:s}", "step", (json_int_t)run->loop.step, "error", message)))
                hone_warn("%s", hone_error());
            hone_fail("%s", message);
        }
        hone_free(message);
    }
    hone_recorder_close(run->recorder);
}
