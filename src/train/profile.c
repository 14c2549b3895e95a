// profile.c: the steps that `--profile` times node by node (run/trace.h): a few after the first two, which pay for cold
// pages and caches. Then the run goes on as it would have.
#include "base/cpu.h"
#include "plan/peak.h"
#include "train/run.h"
#include <string.h>

enum { WARM_STEPS = 2 };

// The machine's memory bandwidth is measured in the arena, which nobody uses yet: so a profile takes no memory beside.
void hone_run_open_profile(hone_run *run)
{
    hone_session *session = &run->job.session;
    int threads = (int)run->recipe->threads;
    if (run->recipe->profile_steps == 0 || (threads <= 0 && hone_cpu_threads(&threads))) return;
    if (session->mirror) return;     // a device's arena is not the host's to measure in: no shares of a bandwidth then
    int64_t bytes = (int64_t)session->layout.arena_bytes, most = 384 << 20;
    if (bytes > most) bytes = most;
    run->peak_bandwidth = hone_peak_bandwidth_in(session->arena, bytes, threads);
    memset(session->arena, 0, (size_t)bytes); // as it was
}

void hone_run_begin_profile(hone_run *run)
{
    int64_t steps = run->recipe->profile_steps;
    if (steps == 0 || run->profiled || run->loop.trace || run->loop.step - run->first_step < WARM_STEPS) return;
    hone_trace_open(&run->trace, &run->job.session);
    run->loop.trace = &run->trace;
}

static hone_status tell(hone_run *run)
{
    hone_buffer table = { 0 };
    json_t *row = NULL;
    char *path = hone_path_join(run->recipe->output_dir, "trace.json");
    hone_status status = path ? hone_trace_print(&run->trace, run->peak_flops, run->peak_bandwidth, &table) : HONE_FAILED;
    if (!status) status = hone_trace_write_chrome(&run->trace, path);
    if (!status) status = hone_trace_json(&run->trace, &row);
    if (!status) {
        json_object_set_new(row, "step", json_integer(run->loop.step));
        json_object_set_new(row, "trace", json_string(path));
        status = hone_log_add(&run->log, "profile", row);
    }
    if (!status) hone_progress_say(&run->progress, "%s  trace        %s (open it in chrome://tracing or Perfetto)\n", table.data, path);
    hone_buffer_release(&table);
    hone_free(path);
    return status;
}

hone_status hone_run_end_profile(hone_run *run, const hone_step *step, bool last)
{
    if (!run->loop.trace) return HONE_OK;
    hone_trace_step(&run->trace, hone_clock_s() - step->seconds, step->seconds);
    if (!last && run->trace.steps < run->recipe->profile_steps) return HONE_OK;
    hone_status status = tell(run);
    hone_trace_close(&run->trace);
    run->loop.trace = NULL;
    run->profiled = true;
    return status;
}
