// pretrain.c: the order of things in a training run (see pretrain.h).
//
//     recipe -> job -> plan: refused here if it does not fit     nothing on disk, no arena yet
//            -> folder, log, arena -> weights (checkpoint, model folder, or random)
//            -> [ step | evaluate | sample | save ] ... -> last evaluation, checkpoint, model folder, table
#include "train/pretrain.h"
#include "base/cpu.h"
#include "base/file.h"
#include "base/units.h"
#include "io/peft.h"
#include "run/stop.h"
#include "train/run.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

static const double LEAST_SLOW_S = 1;   // a shorter step is never told as slow

// --- what checkpoints say ----------------------------------------------------------------------------------------------

// A row is a function of these: with other values "the next row" would mean another text.
static hone_status check_resumed(const hone_run *run, const hone_checkpoint_state *state, const char *path)
{
    static const hone_key_id fixed[] = { HONE_KEY_seed, HONE_KEY_cutoff_len, HONE_KEY_order, HONE_KEY_packing_strategy, HONE_KEY_neat_packing, HONE_KEY_datasets, HONE_KEY_stage,
                                           HONE_KEY_finetuning_type, HONE_KEY_lora_rank, HONE_KEY_lora_alpha, HONE_KEY_use_rslora, HONE_KEY_use_dora,
                                           HONE_KEY_quantization_bit, HONE_KEY_quantization_type };
    const hone_recipe *r = run->recipe;
    json_t *now = NULL, *then = NULL;
    hone_status status = hone_json_parse(path, state->recipe, strlen(state->recipe), &then);
    if (!status) status = hone_recipe_to_json(r, &now);
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed && !status; i++) {
        const char *name = hone_key_table[fixed[i]].name;
        json_t *old = json_object_get(then, name);
        if (!old || json_equal(old, json_object_get(now, name))) continue;
        char *text = hone_json_dumps(old, JSON_ENCODE_ANY);
        status = hone_recipe_fail(r, fixed[i], NULL, "%s was %s in %s; go on with that, or start anew in another output_dir", name, text ? text : "", path);
        hone_free(text);
    }
    if (!status && state->data_hash != hone_mixture_hash(&run->job.train))
        status = hone_recipe_fail(r, HONE_KEY_dataset, NULL, "%s is not the data that %s was trained on; go on with that, or start anew in another output_dir",
                                  r->dataset, path);
    json_decref(now);
    json_decref(then);
    return status;
}

// The rows so far, chosen anew, must be the rows that were trained on.
static hone_status check_sources(const hone_run *run, const hone_checkpoint_state *state, const char *path)
{
    const hone_mixture *m = &run->job.train;
    for (int64_t i = 0; i < m->n_sources; i++)
        for (int64_t k = 0; k < state->n_source; k++)
            if (strcmp(state->source[k].source, m->source[i].name) == 0 && state->source[k].tokens != hone_mixture_tokens(m, i))
                return hone_recipe_fail(run->recipe, HONE_KEY_datasets, NULL, "%s had seen %" PRId64 " tokens of %s, but this recipe would have shown it %" PRId64
                                        "; keep the rows of a step (batch x accumulation) as they were, or start anew in another output_dir", path,
                                        state->source[k].tokens, m->source[i].name, hone_mixture_tokens(m, i));
    return HONE_OK;
}

// The model that the run starts from; of one with adapters, all that is frozen.
static hone_status load_base(hone_run *run)
{
    hone_model *model = &run->job.model;
    const char *path = run->recipe->model_name_or_path;
    hone_status status = hone_hf_load(model, path, hone_job_borrow, &run->job);
    return status || !model->lora.rank ? status : hone_peft_note_base(model, path, hone_job_borrow, &run->job);
}

// The model that the run starts from, ready to run; of pairs, what it says of them.
static hone_status load_start(hone_run *run)
{
    hone_status status = load_base(run);
    if (status) return status;
    hone_model_fill_constants(&run->job.model, hone_job_place, &run->job);
    hone_lora_init(&run->job.model, (uint64_t)run->recipe->seed, hone_job_borrow, &run->job);
    return run->job.pairs ? hone_run_open_pairs(run) : HONE_OK;
}

hone_status hone_run_resume(hone_run *run, const char *path)
{
    hone_checkpoint_state state;
    hone_status status = hone_checkpoint_read_state(path, &state);
    if (status) return status;
    status = check_resumed(run, &state, path);
    if (!status && (run->job.model.lora.rank || run->job.pairs)) status = load_start(run);
    if (!status) status = hone_checkpoint_load(path, &run->job.model, hone_job_borrow, hone_job_carry, &run->job, NULL);
    hone_model_fill_constants(&run->job.model, hone_job_place, &run->job);
    run->loop.step = run->first_step = state.step;
    if (strcmp(run->recipe->resume, "auto") == 0) run->saved_step = run->good_step = state.step;   // else it lies elsewhere
    run->loop.trained_tokens = state.tokens;
    run->loop.skipped = state.skipped;
    for (int64_t i = 0; i < state.n_recent; i++) hone_spikes_add(&run->loop.spikes, state.recent[i]);
    run->before_s = state.seconds;
    hone_mixture_seek(&run->job.train, state.row);
    if (!status) status = hone_loop_set_scale(&run->loop, state.loss_scale);
    if (!status) status = check_sources(run, &state, path);
    hone_checkpoint_state_release(&state);
    return status;
}

// *path: the checkpoint to go on from, NULL for a new run.
static hone_status find_start(const hone_run *run, char **path)
{
    const hone_recipe *r = run->recipe;
    *path = NULL;
    if (strcmp(r->resume, "auto") == 0) return hone_checkpoint_find_last(r->output_dir, path);
    if (strcmp(r->resume, "never") != 0) {
        if (!(*path = hone_strdup(r->resume))) return HONE_FAILED;
        return hone_checkpoint_verify(r->resume);
    }
    char *found;
    hone_status status = hone_checkpoint_find_last(r->output_dir, &found);
    if (!status && found) status = hone_recipe_fail(r, HONE_KEY_output_dir, NULL, "%s holds the checkpoint %s of an earlier run; choose another output_dir,"
                                                    " or go on with resume: auto", r->output_dir, found);
    hone_free(found);
    return status;
}

// The precision that a checkpoint was trained in. False: it cannot be read, which is said where it is to be loaded.
static bool read_precision(const char *path, hone_precision_choice *choice)
{
    hone_checkpoint_state state;
    json_t *then = NULL;
    if (hone_checkpoint_read_state(path, &state)) return false;
    const char *name = hone_json_parse(path, state.recipe, strlen(state.recipe), &then) ? NULL : json_string_value(json_object_get(then, "precision"));
    for (int i = 0; name && i < HONE_PRECISIONS && !choice->chosen; i++) {
        if (strcmp(name, hone_choice_name(hone_precision_of[i]))) continue;
        *choice = (hone_precision_choice){ .chosen = true, .precision = hone_precision_of[i] };
        snprintf(choice->kept, sizeof choice->kept, "as in %.140s", path);
    }
    json_decref(then);
    hone_checkpoint_state_release(&state);
    return choice->chosen;
}

// A run that goes on keeps what its first part chose.
static void keep_precision(const hone_recipe *recipe, hone_precision_choice *choice)
{
    hone_checkpoint_list list = { 0 };
    if (strcmp(recipe->resume, "never") == 0) return;
    if (strcmp(recipe->resume, "auto")) read_precision(recipe->resume, choice);
    else if (!hone_checkpoint_list_folder(recipe->output_dir, &list))
        for (int64_t i = list.count - 1; i >= 0 && !read_precision(list.entry[i].path, choice); i--) {}
    hone_checkpoint_list_release(&list);
    hone_error_clear();
}

static hone_status choose_precision(hone_recipe *recipe, hone_precision_choice *choice)
{
    *choice = (hone_precision_choice){ 0 };
    if (recipe->precision == HONE_precision_auto) keep_precision(recipe, choice);
    if (!choice->chosen) return hone_precision_choose(recipe, NULL, HONE_SPEED_FULL, choice);
    recipe->precision = (int)choice->precision;
    return HONE_OK;
}

// --- opening -----------------------------------------------------------------------------------------------------------

static hone_status check_limits(const hone_run *run)
{
    const hone_recipe *r = run->recipe;
    if (!r->output_dir[0]) return hone_recipe_fail(r, HONE_KEY_output_dir, NULL, "no output_dir: say where checkpoints and the model shall go");
    if (run->steps == 0 && r->max_time == 0)
        return hone_recipe_fail(r, HONE_KEY_max_steps, NULL, "the run would never end: give max_steps, num_train_epochs, max_tokens or max_time");
    return HONE_OK;
}

// Writes the first row, so that a folder that may not be written is found before hours pass.
static hone_status open_folder(hone_run *run, const char *from)
{
    hone_status status = hone_log_open(&run->log, run->recipe->output_dir);
    if (!status && run->recipe->report_to == HONE_report_to_tensorboard) status = hone_tensorboard_open(&run->log.tensorboard, run->recipe->output_dir);
    if (!status && run->recipe->report_to == HONE_report_to_wandb) status = hone_wandb_open(&run->log.wandb, run->recipe->output_dir, from != NULL);
    if (status) return status;
    json_t *recipe = NULL, *plan = NULL;
    if ((status = hone_recipe_to_text(run->recipe, &run->recipe_text)) || (status = hone_recipe_to_json(run->recipe, &recipe))) return status;
    if (hone_forecast_json(&run->forecast, &plan)) { json_decref(recipe); return hone_fail("out of memory while a run was opened"); }
    json_t *row = json_pack("{s:s, s:o, s:o, s:f}", "hone", HONE_VERSION, "recipe", recipe, "plan", plan, "peak_flops_per_second", run->peak_flops);
    if (row && from) json_object_set_new(row, "from", json_string(from));
    hone_run_describe(run, row);
    status = hone_log_add(&run->log, from ? "resume" : "start", row);
    if (!status) hone_run_open_record(run);
    return status;
}

static hone_status load_weights(hone_run *run, const char *from)
{
    const hone_recipe *r = run->recipe;
    if (from) return hone_run_resume(run, from);
    if (!r->model_name_or_path[0]) {
        hone_model_init(&run->job.model, (uint64_t)r->seed, hone_job_borrow, &run->job);
        return HONE_OK;
    }
    return load_start(run);
}

static hone_status wait_for_writer(void *context)
{
    hone_run *run = context;
    return hone_run_note_saves(run, hone_checkpoint_wait(run->writer, &run->save_wait_s));
}

// The lowest held-out loss among the checkpoints that are there.
static hone_status find_best(hone_run *run)
{
    hone_checkpoint_list list;
    hone_status status = hone_checkpoint_list_folder(run->recipe->output_dir, &list);
    if (!status) hone_checkpoint_find_best(&list, &run->best_loss);
    hone_checkpoint_list_release(&list);
    return status;
}

static void say_slow(void *run_pointer, const char *text)
{
    hone_run *run = run_pointer;
    hone_progress_say(&run->progress, "  warning: %s", text);
}

static hone_status open_run(hone_run *run)
{
    char *from = NULL;
    hone_job *job = &run->job;
    run->steps = hone_job_steps(job);
    hone_status status = check_limits(run);
    if (!status) status = hone_forecast_make(&run->forecast, job, &(hone_forecast_options){ .effort = HONE_SPEED_QUICK, .precision = &run->precision });
    if (!status) status = hone_plan_check(&run->forecast.plan, run->recipe);
    run->peak_flops = run->forecast.peak_flops;
    if (!status) status = hone_dir_create(run->recipe->output_dir);
    if (!status) status = hone_lock_take(&run->lock, run->recipe->output_dir, run->verb);
    if (!status) status = find_start(run, &from);
    if (!status && run->recipe->keep_best) status = find_best(run);
    if (!status) status = open_folder(run, from);
    if (!status) status = hone_session_allocate(&job->session);
    if (status) goto out;
    hone_run_open_profile(run);
    hone_loop_open(&run->loop, job);
    run->loop.stop = hone_stop_asked;
    run->loop.before_update = wait_for_writer;
    run->loop.context = run;
    if ((status = load_weights(run, from)) || (status = hone_session_settle(&job->session))) goto out;   // what is parked is at home
    status = hone_checkpoint_open(&run->writer, &(hone_checkpoint_options){
        .model = &job->model, .data = hone_job_place, .carry = hone_job_carry, .context = job, .folder = run->recipe->output_dir, .tokenizer = { job->tokenizer_path, job->tokenizer },
        .save_total_limit = run->recipe->save_total_limit, .keep_best = run->recipe->keep_best });
    if (!status) status = hone_run_open_samples(run);
    if (!status && run->recipe->slow_step > 0)
        status = hone_watchdog_open(&run->watchdog, &(hone_watchdog_options){ run->recipe->slow_step, LEAST_SLOW_S, say_slow, run });
    run->loop.watchdog = run->watchdog;
out:
    hone_free(from);
    return status;
}

static void close_run(hone_run *run)
{
    hone_watchdog_close(run->watchdog);
    hone_checkpoint_close(run->writer);
    if (run->generator.session) hone_generator_close(&run->generator);
    hone_trace_close(&run->trace);
    hone_log_close(&run->log);
    hone_lock_release(&run->lock);
    hone_free(run->recipe_text);
    hone_forecast_release(&run->forecast);
    hone_job_close(&run->job);
}

// --- steps -------------------------------------------------------------------------------------------------------------

// Each source by itself; eval_tokens are dealt evenly among them.
static hone_status evaluate(hone_run *run)
{
    hone_job *job = &run->job;
    if (job->pairs) return hone_run_evaluate_pairs(run);
    hone_evaluation all = { 0 }, *part = hone_alloc((size_t)job->n_held + 1, sizeof *part);
    hone_status status = part ? HONE_OK : HONE_FAILED;
    int64_t most = job->n_held > 0 ? (run->recipe->eval_tokens + job->n_held - 1) / job->n_held : 0, i;
    for (i = 0; i < job->n_held && !status; i++) {
        status = hone_heldout_score(&job->session, &job->score, &job->held[i].loader, job->tokenizer, most, hone_stop_asked, NULL, &part[i]);
        if (!status) status = hone_evaluation_join(&all, &part[i]);
    }
    if (!status && all.tokens > 0 && !hone_stop_asked(NULL)) status = hone_report_held(run, &all, part);
    while (part && i-- > 0) hone_evaluation_release(&part[i]);
    hone_evaluation_release(&all);
    hone_free(part);
    return status;
}

// Steps of the whole run, as the schedule needs them. Where only time limits the run, what the pace so far lets expect.
double hone_run_total_steps(const hone_run *run)
{
    double total = run->steps > 0 ? (double)run->steps : INFINITY, time = run->recipe->max_time > 0 ? hone_run_elapsed_s(run) / run->recipe->max_time : 0;
    if (time > 0 && run->loop.step > 0) total = fmin(total, (double)run->loop.step / time);
    return isfinite(total) ? total : 1000; // the very first step: nothing is known yet
}

static hone_status note_slow_step(hone_run *run)
{
    hone_slow_step slow;
    if (!hone_watchdog_take(run->watchdog, &slow)) return HONE_OK;
    return hone_log_add(&run->log, "slow_step", json_pack("{s:I, s:f, s:f, s:f, s:I, s:s}", "step", (json_int_t)slow.step, "seconds", slow.seconds,
        "median_seconds", slow.median_s, "cpu_seconds", slow.cpu_s, "pages_read", (json_int_t)slow.pages_read, "doing", slow.doing));
}

static bool due(int64_t every, int64_t step) { return every > 0 && step % every == 0; }

static hone_status run_steps(hone_run *run, bool *stopped)
{
    const hone_recipe *r = run->recipe;
    hone_status status = HONE_OK;
    while (!status && hone_run_done(run) < 1) {
        hone_step step;
        hone_run_begin_profile(run);
        if ((status = hone_loop_step(&run->loop, hone_run_total_steps(run), &step))) break;
        if (step.dropped) { *stopped = true; break; }
        if ((status = note_slow_step(run))) break;
        if (step.verdict != HONE_STEP_GOOD) {
            status = hone_run_bad_step(run, &step);
            continue;
        }
        run->skipped_in_row = 0;
        status = hone_report_step(run, &step);
        hone_run_watch_record(run);
        bool last = hone_run_done(run) >= 1;
        if (!status) status = hone_run_end_profile(run, &step, last);
        if (!status && !last && due(r->eval_steps, run->loop.step)) status = evaluate(run);
        if (!status && (last ? r->sample_steps > 0 : due(r->sample_steps, run->loop.step))) status = hone_run_sample(run);
        if (!status && !last && hone_run_save_due(run)) status = hone_run_save(run, false);
        if (hone_stop_asked(NULL)) { *stopped = true; break; }
    }
    hone_progress_end(&run->progress);
    return status;
}

static hone_status stop(hone_run *run)
{
    hone_status status = hone_run_save_last(run);
    if (status) return status;
    hone_log_add(&run->log, "stop", json_pack("{s:I}", "step", (json_int_t)run->loop.step));
    hone_fail("stopped; %s/step-%" PRId64 " is saved, and the same command goes on from there", run->recipe->output_dir, run->good_step);
    return hone_stop_status();
}

// The mean takes the place of the weights; the last checkpoint has both.
static hone_status adopt_average(hone_run *run)
{
    hone_job *job = &run->job;
    hone_status status = HONE_OK;
    for (int64_t i = 0; i < hone_model_n_logical(&job->model) && !status; i++) {
        hone_tid id = hone_model_logical(&job->model, i);
        char name[sizeof ((hone_tensor *)0)->name];
        snprintf(name, sizeof name, "average.%.60s", hone_at(job->graph, id)->name);
        hone_tid mean = hone_graph_find(job->graph, name);
        size_t bytes = (size_t)hone_tensor_bytes(hone_at(job->graph, id));
        const void *from = mean == HONE_NONE ? NULL : hone_job_place(job, mean);
        if (from) memcpy(hone_job_borrow(job, id), from, bytes);
        else if (mean != HONE_NONE) status = hone_job_carry(job, mean, 0, bytes, hone_job_borrow(job, id), false);
    }
    return status;
}

static hone_status end(hone_run *run)
{
    const bool average = run->recipe->average_ratio > 0, adapter = run->job.model.lora.rank > 0;
    hone_status status = average ? HONE_OK : evaluate(run);
    if (!status) status = hone_run_save_last(run);
    if (!status && average && !(status = adopt_average(run))) status = evaluate(run);
    char *model = hone_path_join(run->recipe->output_dir, adapter ? "adapter" : "model");
    if (!model) status = HONE_FAILED;
    if (!status && adapter) status = hone_peft_save(&run->job.model, model, hone_job_place, &run->job);
    if (!status && !adapter) status = hone_hf_save(&run->job.model, model, &(hone_hf_tokenizer){ run->job.tokenizer_path, run->job.tokenizer }, hone_job_place, hone_job_carry, &run->job);
    if (!status) {
        int64_t peak = hone_memory_peak_bytes();
        json_t *row = json_pack("{s:I, s:f, s:I, s:f, s:f, s:I, s:I, s:s}", "step", (json_int_t)run->loop.step, "elapsed_seconds", hone_run_elapsed_s(run),
                                "trained_tokens", (json_int_t)run->loop.trained_tokens, "seconds_in_steps", run->busy_s, "save_wait_seconds", run->save_wait_s,
                                "planned_bytes", (json_int_t)run->forecast.plan.process_bytes, "peak_resident_bytes", (json_int_t)peak, "model", model);
        if (row && run->energy_j > 0) json_object_set_new(row, "energy_kwh", json_real(run->energy_j / 3.6e6));
        status = hone_log_add(&run->log, "end", row);
        hone_report_end(run, model);
    }
    hone_free(model);
    return status;
}

hone_status hone_pretrain(const hone_recipe *recipe, FILE *out)
{
    if (recipe->finetuning_type != HONE_finetuning_type_full)
        return hone_recipe_fail(recipe, HONE_KEY_finetuning_type, NULL, "adapters are trained by `hone tune`; pretrain trains every weight");
    if (recipe->stage != HONE_stage_sft) return hone_recipe_fail(recipe, HONE_KEY_stage, NULL, "pairs of replies are learned from by `hone tune`");
    return hone_run_recipe(recipe, "hone pretrain", out);
}

hone_status hone_run_recipe(const hone_recipe *recipe, const char *verb, FILE *out)
{
    hone_recipe own = *recipe; // shallow: with the precision that is taken
    hone_run run = { .verb = verb, .recipe = &own, .out = out, .held_step = -1, .saved_step = -1, .good_step = -1 };
    hone_status status = choose_precision(&own, &run.precision);
    if (!status) status = hone_job_open(&run.job, &own);
    if (status) return status;
    bool stopped = false;
    hone_stop_watch(recipe->save_on_signal ? HONE_STOP_SAVE : HONE_STOP_INT);
    hone_progress_open(&run.progress, out, recipe->logging_steps, 0);
    if (!(status = open_run(&run))) {
        run.progress.peak_flops = run.peak_flops;
        hone_report_header(&run);
        run.began_s = hone_clock_s();
        status = run_steps(&run, &stopped);
        if (!status) status = stopped ? stop(&run) : end(&run);
    }
    hone_run_close_record(&run, status);
    close_run(&run);
    hone_stop_unwatch();
    return status;
}
