// forecast_print.c: a forecast as a table, or several side by side, and as JSON.
#include "base/units.h"
#include "optim/schedule.h"
#include "plan/forecast.h"
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

enum { ROW_MODEL, ROW_NUMBERS, ROW_STEP, ROW_MEMORY, ROW_FITS, ROW_RECOMPUTE, ROW_OFFLOAD, ROW_SPEED, ROW_RUN, ROW_TIME, ROW_DISK, ROW_ENERGY, ROW_COST, ROW_CO2, ROWS };
static const char *const title[ROWS] = { "model", "numbers", "step", "memory", "fits", "again", "offload", "speed", "run", "time", "disk", "energy", "cost", "CO2" };
enum { WIDTH = 14 };

typedef struct { char value[64], note[640]; } cell;

static __attribute__((format(printf, 2, 3))) void value(cell *c, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(c->value, sizeof c->value, format, arguments);
    va_end(arguments);
}

// Adds to what the note says already.
static __attribute__((format(printf, 2, 3))) void note(cell *c, const char *format, ...)
{
    size_t used = strlen(c->note);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(c->note + used, sizeof c->note - used, format, arguments);
    va_end(arguments);
}

// `fits` stands there only where something does not.
static void fill_memory(const hone_forecast *f, cell *memory, cell *fits)
{
    const hone_recipe *r = f->job->recipe;
    double limit = f->machine ? f->machine->memory : (double)hone_memory_available_bytes();
    bool by_recipe = !f->machine && r->max_memory > 0 && f->plan.process_bytes > r->max_memory;
    if (by_recipe) limit = (double)r->max_memory;
    value(memory, "%s", hone_units_bytes((double)(f->machine ? f->plan.arena_bytes : f->plan.process_bytes)).s);
    if (f->machine) note(memory, "of tensors%s, as planned for %s kernels", f->pace.chips > 1 ? " on each" : "", strcmp(r->backend, "cuda_planned") ? "this machine's" : "the cuda backend's");
    else note(memory, "arena %s, exact", hone_units_bytes((double)f->plan.arena_bytes).s);
    if (limit > 0) note(memory, "; of %s", hone_units_bytes(limit).s);
    if (f->fits) return;
    value(fits, "no");
    note(fits, "%s; lower per_device_train_batch_size, cutoff_len or the model's sizes", by_recipe ? "max_memory is less" : "the machine has less");
}

// The price of the memory: what runs a second time.
static void fill_recompute(const hone_forecast *f, cell *c)
{
    const hone_recompute_price *price = &f->plan.recompute;
    if (f->job->recipe->memory == 0 && !f->job->recipe->gradient_checkpointing) return;
    if (f->recompute_s > 0) value(c, "%.1f %%", 100 * f->recompute_s / f->pace.step_s);
    else value(c, "%.1f %%", 100 * price->work_share / (1 + price->work_share));
    note(c, "of the step, activations recomputed: %" PRId64 " nodes, %.1f %% more FLOPs", price->nodes, 100 * price->flops_share);
}

// What lies elsewhere, what a step moves, how long that takes, and what of it no node hides.
static void fill_offload(const hone_forecast *f, cell *c)
{
    const hone_offload_price *price = &f->plan.offload;
    if (!hone_offload_any(price)) return;
    value(c, "%s", hone_units_bytes((double)(price->file_bytes + price->pinned_bytes)).s);
    note(c, "in %s; a step reads %s", price->file_bytes ? "the file" : "pinned host memory", hone_units_bytes((double)price->read_bytes).s);
    note(c, ", writes %s", hone_units_bytes((double)price->written_bytes).s);
    if (f->pace.moves_s <= 0) return;
    note(c, ", %.3g s", f->pace.moves_s);
    if (f->machine) note(c, " at %.0f GB/s", f->machine->host * HONE_SHARE_OF_BANDWIDTH * 1e-9);
    note(c, "; %.3g s of it are waited for, %.1f %% of the step", f->pace.waited_s, 100 * f->pace.waited_s / f->pace.step_s);
}

static void fill_speed(const hone_forecast *f, cell *c)
{
    double step_s = f->pace.step_s, flops = f->cost.tokens_per_s * f->plan.flops_per_token;
    if (!f->paced) {
        value(c, "-");
        note(c, "not measured: it does not fit");
        return;
    }
    value(c, "%s tok/s", hone_units_grouped((int64_t)f->cost.tokens_per_s).s);
    note(c, step_s < 1 ? "%.3g ms a step" : "%.3g s a step", step_s < 1 ? 1e3 * step_s : step_s);
    note(c, ", %s", hone_units_flops(flops).s);
    if (f->machine) note(c, ": a roofline's estimate, not measured");
    else if (f->peak_flops > 0) note(c, ", %.0f %% of this machine's peak; %s", 100 * flops / f->peak_flops, f->measured_s > 0 ? "" : "measured before");
    if (f->measured_s > 0) note(c, "measured in %.1f s", f->measured_s);
}

static void fill_run(const hone_forecast *f, cell *c)
{
    if (!f->paced) return;
    if (f->cost.steps == 0) {
        value(c, "-");
        note(c, "no end: give max_steps, num_train_epochs, max_tokens or max_time");
        return;
    }
    value(c, "%s steps", hone_units_grouped(f->cost.steps).s);
    note(c, "%s tokens, %.3g epochs", hone_units_count((double)f->cost.tokens).s, f->cost.epochs);
}

static void fill_time(const hone_forecast *f, cell *c)
{
    const hone_cost *cost = &f->cost;
    if (cost->steps == 0) return;
    value(c, "%s", hone_units_time(cost->total_s).s);
    note(c, "steps %s", hone_units_time(cost->steps_s).s);
    if (cost->reference_s > 0) note(c, ", reference %s", hone_units_time(cost->reference_s).s);
    if (cost->eval_s > 0) note(c, ", evaluations %s", hone_units_time(cost->eval_s).s);
    if (cost->sample_s > 0) note(c, ", samples %s", hone_units_time(cost->sample_s).s);
    note(c, ", last save %s", hone_units_time(cost->save_s).s);
}

static void fill_rest(const hone_forecast *f, cell *row)
{
    const hone_cost *cost = &f->cost;
    const hone_recipe *r = f->job->recipe;
    if (cost->disk_bytes > 0) {
        value(&row[ROW_DISK], "%s", hone_units_bytes((double)cost->disk_bytes).s);
        note(&row[ROW_DISK], "%" PRId64 " checkpoint%s of %s, the model", cost->checkpoints, cost->checkpoints == 1 ? "" : "s", hone_units_bytes((double)cost->checkpoint_bytes).s);
        if (cost->disk_bytes > cost->checkpoints * cost->checkpoint_bytes + f->plan.class_bytes[HONE_CLASS_param]) note(&row[ROW_DISK], ", one more while it is written");
    }
    if (cost->steps == 0) return;
    if (f->pace.watts > 0) {
        value(&row[ROW_ENERGY], "%s", hone_units_energy(cost->energy_kwh).s);
        note(&row[ROW_ENERGY], "%.0f W, %s", f->pace.watts, f->pace.power);
    }
    if (cost->money > 0) {
        value(&row[ROW_COST], "%.2f", cost->money);
        note(&row[ROW_COST], "%g an hour", r->price_per_hour);
    }
    if (cost->co2_g > 0) {
        value(&row[ROW_CO2], "%s", hone_units_mass(cost->co2_g).s);
        note(&row[ROW_CO2], "%g g/kWh", r->gco2_per_kwh);
    }
}

// What `precision: auto` chose; of fp8 how far it reaches.
static void fill_numbers(const hone_forecast *f, cell *c)
{
    hone_buffer why = { 0 };
    if (f->plan.bf16_products) {
        value(c, "%s", f->job->model.product == HONE_e4m3_128 ? "fp8, blocks" : "fp8");
        note(c, "%" PRId64 " of %" PRId64 " products; in bf16: %s", f->plan.fp8.made, f->plan.fp8.products, f->plan.bf16_products);
    }
    if (!f->precision.chosen) return;
    value(c, "%s", hone_choice_name(f->precision.precision));
    if (!hone_precision_print(&f->precision, &why)) note(c, "%s", why.data);
    hone_buffer_release(&why);
}

static void fill(const hone_forecast *f, cell *row)
{
    const hone_job *job = f->job;
    value(&row[ROW_MODEL], "%s %s", job->config.family->model_type, hone_units_count((double)f->plan.params).s);
    if (job->config.own) note(&row[ROW_MODEL], "of no family of transformers: only hone reads its folder; ");
    note(&row[ROW_MODEL], "%s products, %s FLOPs a token", hone_choice_name((hone_choice)job->recipe->precision), hone_units_count(f->plan.flops_per_token).s);
    fill_numbers(f, &row[ROW_NUMBERS]);
    int64_t chips = f->paced ? f->pace.chips : 1;
    value(&row[ROW_STEP], "%s tokens", hone_units_grouped(hone_job_step_tokens(job) * chips).s);
    if (chips > 1) note(&row[ROW_STEP], "%" PRId64 " chips x ", chips);
    note(&row[ROW_STEP], "%" PRId64 " x %" PRId64 " rows of %" PRId64, job->accumulation, job->rows, job->T);
    if (job->recipe->batch_warmup_steps > 0 && job->accumulation > 1) note(&row[ROW_STEP], "; 1 x %" PRId64 " at first, all from step %" PRId64 " on", job->rows, job->recipe->batch_warmup_steps);
    if (hone_schedule_length(job->recipe, 0) < job->T) note(&row[ROW_STEP], "; in pieces of %" PRId64 " tokens at first, whole from step %" PRId64 " on",
                                                               hone_schedule_length(job->recipe, 0), job->recipe->length_warmup_steps);
    if (job->recipe->average_ratio > 0) note(&row[ROW_STEP], "; the model is the mean over the last %g %% of the steps", 100 * job->recipe->average_ratio);
    fill_memory(f, &row[ROW_MEMORY], &row[ROW_FITS]);
    fill_recompute(f, &row[ROW_RECOMPUTE]);
    fill_offload(f, &row[ROW_OFFLOAD]);
    fill_speed(f, &row[ROW_SPEED]);
    fill_run(f, &row[ROW_RUN]);
    fill_time(f, &row[ROW_TIME]);
    fill_rest(f, row);
}

static const char *name_of(const hone_forecast *f)
{
    const char *path = f->job->recipe->path, *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// "            novels 2.31 epochs, medical 0.40": where a mixture ends.
static hone_status print_sources(const hone_forecast *f, hone_buffer *out)
{
    const hone_mixture *m = &f->job->train;
    hone_status status = HONE_OK;
    for (int64_t i = 0; i < m->n_sources && m->n_sources > 1 && f->cost.source_epochs && !status; i++)
        status = hone_buffer_print(out, "  %-8s %*s  %s: %.3g epochs, %s tokens\n", "", WIDTH, "", m->source[i].name, f->cost.source_epochs[i],
                                   hone_units_count(f->cost.source_epochs[i] * (double)m->source[i].loader.windows * (double)f->job->T).s);
    return status;
}

static hone_status print_head(const hone_forecast *forecast, int count, hone_buffer *out)
{
    const hone_forecast *f = &forecast[0];
    if (count > 1) {
        hone_status status = hone_buffer_print(out, "hone plan  ");
        for (int i = 0; i < count && !status; i++) status = hone_buffer_print(out, "%s%*s", i ? "  " : "", WIDTH, name_of(&forecast[i]));
        return status ? status : hone_buffer_print(out, "\n");
    }
    hone_status status = hone_buffer_print(out, "hone plan  %s", f->job->recipe->path);
    if (f->machine && !status && f->pace.chips > 1) status = hone_buffer_print(out, "  on %" PRId64 " x %s", f->pace.chips, f->machine->title);
    else if (f->machine && !status) status = hone_buffer_print(out, "  on one %s", f->machine->title);
    return status ? status : hone_buffer_print(out, "\n");
}

// What an estimate for another machine rests on.
static hone_status print_roofline(const hone_forecast *f, hone_buffer *out)
{
    const hone_hardware *m = f->machine;
    if (!m) return HONE_OK;
    hone_status status = hone_buffer_print(out, "\n  %s: products at %.0f %% of %s (f32), %s (bf16) or %s (int8),\n  memory at %.0f %% of %.2f TB/s", m->title,
        100 * HONE_SHARE_OF_FLOPS, hone_units_flops(m->f32_flops).s, hone_units_flops(m->bf16_flops).s, hone_units_flops(m->int8_flops).s, 100 * HONE_SHARE_OF_BANDWIDTH, m->bandwidth * 1e-12);
    if (!status && hone_dtype_is_fp8(f->job->model.product)) status = hone_buffer_print(out, ", products in fp8 at %.0f %% of %s", 100 * HONE_SHARE_OF_FLOPS, hone_units_flops(m->fp8_flops).s);
    if (!status && f->pace.chips > 1) status = hone_buffer_print(out, ", gradients summed over links of %.0f GB/s, nothing overlapped", m->link * 1e-9);
    if (status) return status;
    return hone_buffer_print(out, m->cores > 0 ? ".\n  An estimate: `hone plan` run there measures.\n" : ".\n  An estimate: hone has no kernels for it yet.\n");
}

hone_status hone_forecast_print(const hone_forecast *forecast, int count, hone_buffer *out)
{
    cell (*of)[ROWS] = hone_alloc((size_t)count, sizeof *of);
    hone_status status = of ? print_head(forecast, count, out) : HONE_FAILED;
    for (int i = 0; i < count && of; i++) fill(&forecast[i], of[i]);
    for (int r = 0; r < ROWS && !status; r++) {
        bool any = false;
        for (int i = 0; i < count; i++) any |= of[i][r].value[0] != '\0';
        if (!any) continue;
        status = hone_buffer_print(out, "  %-8s ", title[r]);
        for (int i = 0; i < count && !status; i++) status = hone_buffer_print(out, "%s%*s", i ? "  " : "", WIDTH, of[i][r].value[0] ? of[i][r].value : "-");
        if (!status) status = hone_buffer_print(out, "%s%s\n", count == 1 ? "  " : "", count == 1 ? of[0][r].note : "");
        if (!status && count == 1 && r == ROW_RUN) status = print_sources(forecast, out);
    }
    hone_free(of);
    return status ? status : print_roofline(forecast, out);
}

// --- JSON --------------------------------------------------------------------------------------------------------------

static void put(json_t *object, const char *key, json_t *value, bool *bad) { *bad |= json_object_set_new(object, key, value) != 0; }

static void put_pace(json_t *out, const hone_forecast *f, bool *bad)
{
    put(out, "machine", json_string(f->machine ? f->machine->name : "this"), bad);
    put(out, "chips", json_integer(f->pace.chips), bad);
    put(out, "tokens_per_second", json_real(f->cost.tokens_per_s), bad);
    put(out, "step_seconds", json_real(f->pace.step_s), bad);
    if (hone_offload_any(&f->plan.offload)) put(out, "offload_seconds", json_real(f->pace.waited_s), bad);
    if (hone_offload_any(&f->plan.offload)) put(out, "move_seconds", json_real(f->pace.moves_s), bad);
    put(out, "watts", json_real(f->pace.watts), bad);
    put(out, "watts_from", json_string(f->pace.power), bad);
    put(out, "checkpoint_bytes", json_integer(f->cost.checkpoint_bytes), bad);
    put(out, "disk_bytes", json_integer(f->cost.disk_bytes), bad);
}

static void put_precision(json_t *out, const hone_precision_choice *choice, bool *bad)
{
    json_t *speed = json_object(), *all = json_object();
    put(out, "precision_choice", all, bad);
    put(all, "precision", json_string(hone_choice_name(choice->precision)), bad);
    put(all, "tokens_per_second", speed, bad);
    for (int i = 0; i < HONE_PRECISIONS; i++)
        if (choice->tokens_per_s[i] > 0) put(speed, hone_choice_name(hone_precision_of[i]), json_real(choice->tokens_per_s[i]), bad);
    if (choice->kept[0]) put(all, "kept", json_string(choice->kept), bad);
}

static void put_run(json_t *out, const hone_forecast *f, bool *bad)
{
    const hone_cost *c = &f->cost;
    put(out, "steps", json_integer(c->steps), bad);
    put(out, "tokens", json_integer(c->tokens), bad);
    put(out, "epochs", json_real(c->epochs), bad);
    put(out, "seconds", json_real(c->total_s), bad);
    put(out, "energy_kwh", json_real(c->energy_kwh), bad);
    if (c->money > 0) put(out, "money", json_real(c->money), bad);
    if (c->co2_g > 0) put(out, "co2_g", json_real(c->co2_g), bad);
    json_t *sources = c->source_epochs ? json_object() : NULL;
    for (int64_t i = 0; sources && i < f->job->train.n_sources; i++) put(sources, f->job->train.source[i].name, json_real(c->source_epochs[i]), bad);
    if (sources) put(out, "epochs_by_source", sources, bad);
}

hone_status hone_forecast_json(const hone_forecast *f, json_t **out)
{
    bool bad = false;
    hone_status status = hone_plan_json(&f->plan, out);
    if (status) return status;
    put(*out, "fits", json_boolean(f->fits), &bad);
    if (f->peak_flops > 0) put(*out, "peak_flops_per_second", json_real(f->peak_flops), &bad);
    if (f->precision.chosen) put_precision(*out, &f->precision, &bad);
    if (f->paced) put_pace(*out, f, &bad);
    if (f->cost.steps > 0) put_run(*out, f, &bad);
    if (!bad) return HONE_OK;
    json_decref(*out);
    *out = NULL;
    return hone_fail("out of memory while the plan was written");
}
