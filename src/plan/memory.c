// memory.c: see memory.h.
#include "plan/memory.h"
#include "base/units.h"
#include "graph/mirror.h"
#include "io/checkpoint.h"
#include <inttypes.h>
#include <string.h>

const char *const hone_param_group_name[HONE_PARAM_GROUPS] = { "embedding", "attention", "mlp", "norms", "head" };

static const char *const class_title[HONE_CLASS_COUNT] = {
#define CLASS(name, persistent, title) title,
#include "graph/classes.def"
#undef CLASS
};

// The group of a logical parameter by its name (model/decoder.h): the first row that matches.
static int group_of(const char *name)
{
    static const struct { const char *part; int group; } rule[] = {
        { "embed.", 0 }, { "norm", 3 }, { "head", 4 }, { ".up", 2 }, { ".gate", 2 }, { ".down", 2 }, { "", 1 } };
    int i = 0;
    while (!strstr(name, rule[i].part)) i++;
    return rule[i].group;
}

// Activations and their gradients alive at the peak node, by the layer that made them. A tensor is alive from its first
// node to its last.
static hone_status count_layers(const hone_job *job, hone_plan *plan)
{
    const hone_graph *graph = job->graph;
    const hone_layout *layout = &job->session.layout;
    const hone_program *program = &graph->program[layout->peak_program];
    struct life { int64_t first, last; } *life = hone_alloc((size_t)graph->n_tensor, sizeof *life);
    plan->layers = job->config.layers;
    plan->layer_bytes = hone_alloc((size_t)plan->layers + 1, sizeof *plan->layer_bytes);
    if (!life || !plan->layer_bytes) { hone_free(life); return HONE_FAILED; }
    for (int64_t n = program->count - 1; n >= 0; n--) {
        const hone_node *node = &program->node[n];
        for (int i = 0; i < node->n_in + node->n_out; i++) {
            hone_tid id = hone_node_operand(node, i);
            if (id == HONE_NONE) continue;
            struct life *l = &life[hone_storage(graph, id)];
            if (!l->last) l->last = n + 1;
            l->first = n + 1;
        }
    }
    for (hone_tid id = 0; id < graph->n_tensor; id++) {
        const hone_tensor *t = hone_at(graph, id);
        bool counted = t->cls == HONE_CLASS_activation || t->cls == HONE_CLASS_actgrad;
        if (!counted || !life[id].last || life[id].first > layout->peak_node + 1 || life[id].last < layout->peak_node + 1) continue;
        plan->layer_bytes[t->layer >= 0 ? t->layer : plan->layers] += (int64_t)layout->bytes[id];
    }
    hone_free(life);
    return HONE_OK;
}

// What a run allocates after the arena: the resolved operands of each program, read windows of mapped data, the buffer of
// the checkpoint writer; and what the system counts against a container's limit beside: the arena's page table.
enum { PAGE_BYTES = 4096, PAGE_ENTRY_BYTES = 8 };   // huge pages have none, but none are promised

// What the host locks: the twin, and the homes of what is parked.
static int64_t pinned_bytes(const hone_job *job)
{
    const hone_session *s = &job->session;
    return hone_backend_is_apart(s->backend) ? (int64_t)(hone_mirror_pinned_bytes(s) + s->layout.home_bytes) : 0;
}

int64_t hone_plan_late_bytes(const hone_job *job)
{
    int64_t nodes = 0;
    for (int i = 0; i < job->graph->n_program; i++) nodes += job->graph->program[i].count + 1;
    int64_t bytes = nodes * (int64_t)(sizeof(hone_args) + sizeof(void *)) + HONE_JOB_LATE_BYTES;
    if (strcmp(job->recipe->run_store, "none")) bytes += HONE_JOB_STORE_BYTES;
    if (job->pairs) bytes += job->rows * job->T * (int64_t)(sizeof(float) + sizeof(int32_t) + sizeof(int64_t) / 2 + sizeof(double));   // what train/pairs.c knows of scored rows
    const int64_t host = (int64_t)hone_mirror_bytes(&job->session), pinned = pinned_bytes(job), arena = (int64_t)job->session.layout.arena_bytes;
    if (job->session.layout.home_bytes && !pinned) bytes += (int64_t)hone_scratch_memory_bytes();
    const int64_t shadows = host - (int64_t)hone_mirror_pinned_bytes(&job->session);
    const int64_t tables = (pinned ? shadows + pinned : arena) / PAGE_BYTES * PAGE_ENTRY_BYTES;
    return bytes + shadows + tables + (int64_t)hone_checkpoint_buffer_bytes();
}

hone_status hone_plan_make(const hone_job *job, hone_plan *plan)
{
    const hone_layout *layout = &job->session.layout;
    *plan = (hone_plan){ .arena_bytes = (int64_t)layout->arena_bytes, .base_bytes = job->base_bytes, .late_bytes = hone_plan_late_bytes(job),
                         .workspace_bytes = (int64_t)layout->workspace_peak_bytes, .peak_node = layout->peak_node,
                         .peak_program = job->graph->program[layout->peak_program].name,
                         .flops_per_token = hone_model_trained_flops_per_token(&job->model, job->T) };
    for (int64_t i = 0; i < job->model.n_param; i++) {
        const hone_tensor *t = hone_at(job->graph, job->model.param[i]);
        plan->group[group_of(t->name)] += hone_tensor_count(t);
        plan->params += hone_tensor_count(t);
    }
    plan->factors = hone_lora_count(&job->model);
    if (hone_model_is_blocked(&job->model)) plan->frozen_blocks = hone_model_blocked_title(&job->model);
    hone_job_price_recompute(job, &plan->recompute);
    hone_job_price_offload(job, &plan->offload);
    plan->gap_bytes = plan->arena_bytes - plan->workspace_bytes;
    for (int c = 0; c < HONE_CLASS_COUNT; c++) {
        plan->class_bytes[c] = (int64_t)layout->class_bytes[c] + plan->offload.class_bytes[c];
        plan->gap_bytes -= (int64_t)layout->class_bytes[c];
    }
    if (hone_backend_is_apart(job->session.backend)) plan->device_bytes = plan->arena_bytes;
    plan->pinned_bytes = pinned_bytes(job);
    plan->process_bytes = plan->base_bytes + plan->arena_bytes - plan->device_bytes + plan->pinned_bytes + plan->late_bytes;
    hone_buffer others = { 0 };
    hone_status status = count_layers(job, plan);
    if (!status && hone_dtype_is_fp8(job->model.product) && !(status = hone_fp8_count(job, &plan->fp8, &others)) && !(status = hone_buffer_print(&others, "%s", "")))
        plan->bf16_products = others.data;
    else hone_buffer_release(&others);
    if (status) hone_plan_release(plan);
    return status;
}

void hone_plan_release(hone_plan *plan)
{
    hone_free(plan->layer_bytes);
    hone_free(plan->bf16_products);
    *plan = (hone_plan){ 0 };
}

static hone_status print_bytes(hone_buffer *out, const char *title, int64_t bytes, const char *note)
{
    if (bytes == 0) return HONE_OK;
    return hone_buffer_print(out, "    %-22s %10s%s%s\n", title, hone_units_bytes((double)bytes).s, note[0] ? "  " : "", note);
}

// "by layer  5.77 5.77 4.10 MiB": what the peak holds of each; the backward has begun to free the last.
static hone_status print_layers(const hone_plan *plan, hone_buffer *out)
{
    hone_status status = hone_buffer_print(out, "      by layer, MiB       ");
    for (int64_t l = 0; l < plan->layers && !status; l++)
        status = hone_buffer_print(out, "%s%.2f", l && l % 12 == 0 ? "\n                           " : " ", (double)plan->layer_bytes[l] / 0x1p20);
    return status ? status : hone_buffer_print(out, "\n");
}

// "recomputed   7.1 % more FLOPs, 8.0 % more work   linear 4, attention 2 of micro's nodes": the price of the memory above.
static hone_status print_recompute(const hone_recompute_price *price, hone_buffer *out)
{
    if (price->nodes == 0) return HONE_OK;
    hone_status status = hone_buffer_print(out, "  recomputed               %8.1f %% more FLOPs, %.1f %% more work:", 100 * price->flops_share, 100 * price->work_share);
    const char *before = " ";
    for (int op = 0; op < HONE_OP_COUNT && !status; op++) {
        if (price->node[op] == 0) continue;
        status = hone_buffer_print(out, "%s%lld %s", before, (long long)price->node[op], hone_op_get((hone_op)op)->name);
        before = ", ";
    }
    return status ? status : hone_buffer_print(out, "\n");
}

// "offloaded     6.18 GiB  in the file (in pinned host memory): optimizer moments 2.08 GiB, gradients 4.10 GiB; 6.2 GiB read, 6.2 GiB written a step"
static hone_status print_offload(const hone_offload_price *price, hone_buffer *out)
{
    if (!hone_offload_any(price)) return HONE_OK;
    hone_status status = hone_buffer_print(out, "  offloaded                %10s  in %s:", hone_units_bytes((double)(price->file_bytes + price->pinned_bytes)).s,
                                           price->file_bytes ? "the file" : "pinned host memory");
    const char *before = " ";
    for (int c = 0; c < HONE_CLASS_COUNT && !status; c++) {
        if (price->class_bytes[c] == 0) continue;
        status = hone_buffer_print(out, "%s%s %s", before, class_title[c], hone_units_bytes((double)price->class_bytes[c]).s);
        before = ", ";
    }
    if (status) return status;
    status = hone_buffer_print(out, "; %s read,", hone_units_bytes((double)price->read_bytes).s);
    return status ? status : hone_buffer_print(out, " %s written a step\n", hone_units_bytes((double)price->written_bytes).s);
}

static json_t *offload_json(const hone_offload_price *price)
{
    json_t *classes = json_object();
    int bad = 0;
    for (int c = 0; c < HONE_CLASS_COUNT; c++)
        if (price->class_bytes[c]) bad |= json_object_set_new(classes, class_title[c], json_integer(price->class_bytes[c]));
    if (bad) { json_decref(classes); return NULL; }
    return json_pack("{s:I, s:I, s:o, s:I, s:I}", "file_bytes", (json_int_t)price->file_bytes, "pinned_bytes", (json_int_t)price->pinned_bytes, "bytes_by_class", classes,
                     "read_bytes", (json_int_t)price->read_bytes, "written_bytes", (json_int_t)price->written_bytes);
}

static json_t *recompute_json(const hone_recompute_price *price)
{
    json_t *nodes = json_object();
    int bad = 0;
    for (int op = 0; op < HONE_OP_COUNT; op++)
        if (price->node[op]) bad |= json_object_set_new(nodes, hone_op_get((hone_op)op)->name, json_integer(price->node[op]));
    if (bad) { json_decref(nodes); return NULL; }
    return json_pack("{s:f, s:f, s:o}", "flops_share", price->flops_share, "work_share", price->work_share, "nodes", nodes);
}

hone_status hone_plan_print(const hone_plan *plan, hone_buffer *out)
{
    char note[96];
    hone_status status = hone_buffer_print(out, "  parameters               %10s\n", hone_units_grouped(plan->params).s);
    for (int g = 0; g < HONE_PARAM_GROUPS && !status; g++)
        if (plan->group[g])
            status = hone_buffer_print(out, "    %-22s %10s\n", hone_param_group_name[g], hone_units_grouped(plan->group[g]).s);
    if (!status && plan->factors) status = hone_buffer_print(out, "  trained (adapters)       %10s\n", hone_units_grouped(plan->factors).s);
    if (!status && plan->frozen_blocks) status = hone_buffer_print(out, "  frozen matrices in       %10s\n", plan->frozen_blocks);
    if (!status) status = hone_buffer_print(out, "  memory\n");
    for (int c = 0; c < HONE_CLASS_COUNT && !status; c++) {
        note[0] = '\0';
        if (c == HONE_CLASS_activation) snprintf(note, sizeof note, "at the peak, node %" PRId64 " of %s", plan->peak_node, plan->peak_program);
        status = print_bytes(out, class_title[c], plan->class_bytes[c] - plan->offload.class_bytes[c], note);
        if (!status && c == HONE_CLASS_activation) status = print_layers(plan, out);
    }
    if (!status) status = print_bytes(out, "workspace", plan->workspace_bytes, "");
    if (!status) status = print_bytes(out, "gaps", plan->gap_bytes, "");
    if (!status) status = hone_buffer_print(out, "    %-22s %10s  exact%s\n", "arena", hone_units_bytes((double)plan->arena_bytes).s,
                                             plan->device_bytes ? ", on the device" : "");
    if (!status) status = print_bytes(out, "pinned host memory", plan->pinned_bytes, "exact: inputs, outputs, what is offloaded");
    if (!status) status = print_bytes(out, "program, data, tables", plan->base_bytes + plan->late_bytes, "measured");
    if (!status) status = hone_buffer_print(out, "    %-22s %10s\n", "process", hone_units_bytes((double)plan->process_bytes).s);
    if (!status) status = print_recompute(&plan->recompute, out);
    if (!status) status = print_offload(&plan->offload, out);
    if (!status && plan->bf16_products)
        status = hone_buffer_print(out, "  in fp8                   %10lld  of %lld products; in bf16: %s\n", (long long)plan->fp8.made, (long long)plan->fp8.products, plan->bf16_products);
    if (!status) status = hone_buffer_print(out, "  model FLOPs a token      %10s\n", hone_units_count(plan->flops_per_token).s);
    return status;
}

hone_status hone_plan_json(const hone_plan *plan, json_t **out)
{
    json_t *groups = json_object(), *classes = json_object(), *layers = json_array();
    int bad = 0;
    for (int g = 0; g < HONE_PARAM_GROUPS; g++) bad |= json_object_set_new(groups, hone_param_group_name[g], json_integer(plan->group[g]));
    for (int c = 0; c < HONE_CLASS_COUNT; c++) bad |= json_object_set_new(classes, class_title[c], json_integer(plan->class_bytes[c] - plan->offload.class_bytes[c]));
    bad |= json_object_set_new(classes, "workspace", json_integer(plan->workspace_bytes));
    bad |= json_object_set_new(classes, "gaps", json_integer(plan->gap_bytes));
    for (int64_t l = 0; l < plan->layers; l++) bad |= json_array_append_new(layers, json_integer(plan->layer_bytes[l]));
    *out = json_pack("{s:I, s:I, s:s?, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:f, s:o, s:o}", "parameters", (json_int_t)plan->params,
                     "trained_parameters", (json_int_t)(plan->factors ? plan->factors : plan->params), "frozen_blocks", plan->frozen_blocks,
                     "parameters_by_group", groups, "bytes_by_class", classes, "activation_bytes_by_layer", layers,
                     "arena_bytes", (json_int_t)plan->arena_bytes, "device_bytes", (json_int_t)plan->device_bytes, "pinned_bytes", (json_int_t)plan->pinned_bytes, "base_bytes", (json_int_t)plan->base_bytes,
                     "late_bytes", (json_int_t)plan->late_bytes, "process_bytes", (json_int_t)plan->process_bytes,
                     "peak_program", plan->peak_program, "peak_node", (json_int_t)plan->peak_node,
                     "flops_per_token", plan->flops_per_token, "recompute", recompute_json(&plan->recompute), "offload", offload_json(&plan->offload));
    if (*out && plan->bf16_products)
        bad |= json_object_set_new(*out, "fp8", json_pack("{s:I, s:I, s:s}", "made", (json_int_t)plan->fp8.made, "products", (json_int_t)plan->fp8.products, "in_bf16", plan->bf16_products));
    return bad || !*out ? hone_fail("out of memory while writing the plan") : HONE_OK;
}

static bool over_limit(const hone_plan *plan, const hone_recipe *recipe) { return recipe->max_memory > 0 && plan->process_bytes > recipe->max_memory; }

bool hone_plan_fits(const hone_plan *plan, const hone_recipe *recipe)
{
    return !over_limit(plan, recipe) && plan->process_bytes - plan->base_bytes <= hone_memory_available_bytes();
}

hone_status hone_plan_check(const hone_plan *plan, const hone_recipe *recipe)
{
    hone_buffer table = { 0 };
    int64_t more = plan->process_bytes - plan->base_bytes, available = hone_memory_available_bytes();
    if (hone_plan_fits(plan, recipe)) return HONE_OK;
    bool limit = over_limit(plan, recipe);
    if (hone_plan_print(plan, &table)) return HONE_FAILED;
    char needs[32], has[32];
    snprintf(needs, sizeof needs, "%s", hone_units_bytes((double)(limit ? plan->process_bytes : more)).s);
    snprintf(has, sizeof has, "%s", hone_units_bytes((double)(limit ? recipe->max_memory : available)).s);
    hone_fail("%s: needs %s of memory, but %s %s; lower per_device_train_batch_size (and raise gradient_accumulation_steps), cutoff_len"
              " or the model's sizes\n%s", recipe->path[0] ? recipe->path : "recipe", needs, limit ? "max_memory allows" : "the machine has available",
              has, table.data);
    hone_buffer_release(&table);
    return HONE_FAILED;
}
