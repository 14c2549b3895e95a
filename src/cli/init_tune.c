// init_tune.c: hone init --model: a recipe that tunes a model; text is prepared for it first, conversations a recipe takes as they are.
#include "base/file.h"
#include "base/units.h"
#include "cli/init.h"
#include "data/chat_record.h"
#include "data/documents.h"
#include "data/prepare.h"
#include "data/talks.h"
#include "train/propose_tune.h"
#include <stdio.h>
#include <string.h>

// --- data ----------------------------------------------------------------------------------------------------------------

static bool is_prepared(const char *path)
{
    char *about = hone_path_join(path, "data.json");
    const bool prepared = hone_dataset_is_raw(path) || (about && hone_file_exists(about));
    hone_free(about);
    return prepared;
}

// Do the records hold conversations? By the first one.
static hone_status look_at_record(const hone_inputs *inputs, const hone_template *fields, bool *chat)
{
    const hone_document_options options = { inputs, fields, 0, NULL };
    hone_document_reader reader;
    hone_document_batch batch = { 0 };
    json_t *record = NULL, *conversation = NULL;
    const json_t *text;
    hone_status status = hone_document_reader_open(&reader, &options, NULL);
    if (status) return status;
    if (!(status = hone_document_reader_next(&reader, &batch, 1)) && batch.count > 0) {
        const hone_document *first = &batch.document[0];
        char where[1024];
        snprintf(where, sizeof where, "%s:%lld", inputs->input[0].path, (long long)first->line);
        status = hone_json_parse(where, batch.bytes.data + first->offset, first->size, &record);
        if (!status) status = hone_chat_record(record, where, &conversation, &text);
        *chat = conversation != NULL;
    }
    json_decref(conversation);
    json_decref(record);
    hone_document_batch_release(&batch);
    hone_document_reader_close(&reader);
    return status;
}

static hone_status find_chat(const char *path, bool *chat)
{
    hone_inputs inputs;
    hone_template fields = { 0 };
    hone_status status = hone_inputs_open(&inputs, &path, 1, NULL);
    if (status) return status;
    if (!(status = hone_template_field(&fields, "text"))) status = look_at_record(&inputs, &fields, chat);
    hone_template_release(&fields);
    hone_inputs_close(&inputs);
    return status;
}

// "texts/talks.jsonl.gz" -> "talks-data", beside the recipe. hone_free() it.
static char *folder_of(const char *path, const char *recipe)
{
    const char *slash = strrchr(recipe, '/'), *end = path + strlen(path);
    while (end > path && end[-1] == '/') end--;
    const char *name = end;
    while (name > path && name[-1] != '/') name--;
    const char *dot = memchr(name, '.', (size_t)(end - name));
    const int beside = slash ? (int)(slash + 1 - recipe) : 0, length = (int)((dot && dot > name ? dot : end) - name);
    return hone_format("%.*s%.*s-data", beside, recipe, length, name);
}

// Text as the run will read it: *folder (hone_free() it).
static hone_status prepare(const hone_init *init, char **folder)
{
    hone_prepare_options o = { .tokenizer = init->tokenizer ? init->tokenizer : init->model, .files = &init->data, .n_files = 1, .text_field = "text", .held_out = 0.02,
                               .seed = 1, .document_bytes = 64 << 10 };
    hone_prepare_report report;
    hone_status status;
    if (!(*folder = folder_of(init->data, init->path))) return HONE_FAILED;
    if (hone_dir_exists(*folder))
        return hone_fail("%s: is there already, and %s would be prepared into it; if it holds these data, say --data %s, else remove it", *folder, init->data, *folder);
    o.output = *folder;
    if ((status = hone_prepare(&o, &report))) return status;
    printf("  prepared  hone prepare --tokenizer %s --output %s %s\n", o.tokenizer, *folder, init->data);
    printf("            %s documents, %s tokens\n", hone_units_grouped(report.documents[0] + report.documents[1]).s, hone_units_grouped(report.tokens[0] + report.tokens[1]).s);
    hone_prepare_report_release(&report);
    return HONE_OK;
}

// --- the recipe ----------------------------------------------------------------------------------------------------------

static hone_status write_head(const hone_tune_proposal *p, const hone_init *init, hone_buffer *out)
{
    hone_status status = hone_buffer_print(out,
        "# Made by `hone init` for this machine, this model and these data. Every key: `hone schema --format text`.\n"
        "# %s parameters at %s tokens a second (measured): %s steps, %s tokens, %.2g passes over the data, about %s.\n"
        "# Memory of the process: %s planned; `hone plan %s` says it to the byte.\n"
        "#     hone tune %s\n\n",
        hone_units_count((double)p->params).s, hone_units_grouped((int64_t)p->tokens_per_s).s, hone_units_grouped(p->steps).s, hone_units_count((double)p->tokens).s,
        p->passes, hone_units_time(p->seconds).s, hone_units_bytes((double)p->process_bytes).s, init->path, init->path);
    if (!status) status = hone_init_print_path(out, "model_name_or_path", init->model);
    if (!status && init->tokenizer) status = hone_init_print_path(out, "tokenizer", init->tokenizer);
    return status;
}

static hone_status write_method(const hone_tune_proposal *p, hone_buffer *out)
{
    hone_status status = HONE_OK;
    if (p->refused[0]) status = hone_buffer_print(out, "\n# %s, more than the %s that it may.", p->refused, hone_units_bytes((double)p->memory_bytes).s);
    if (!status) status = hone_buffer_print(out, "\nfinetuning_type: %s\n", hone_choice_name(p->method));
    if (!status && p->method != HONE_finetuning_type_full)
        status = hone_buffer_print(out, "lora_rank: %d\nlora_alpha: %d\n", HONE_PROPOSE_LORA_RANK, HONE_PROPOSE_LORA_ALPHA);
    if (!status && p->checkpointing) status = hone_buffer_print(out, "gradient_checkpointing: true\n");
    return status;
}

static hone_status write_data(const hone_tune_proposal *p, const hone_init *init, const char *data, hone_buffer *out)
{
    hone_status status = hone_init_print_path(out, "dataset", data);
    if (!status) status = hone_init_print_path(out, "output_dir", init->output_dir);
    if (!status && p->documents > 0)
        status = hone_buffer_print(out, "\n# 95 %% of the %s documents have at most %s tokens.", hone_units_grouped(p->documents).s, hone_units_grouped(p->usual_tokens).s);
    if (status) return status;
    return hone_buffer_print(out, "\n# A step: %lld x %lld rows of %lld tokens. Less memory: halve the first, double the second.\n"
                             "cutoff_len: %lld\nper_device_train_batch_size: %lld\ngradient_accumulation_steps: %lld\nprecision: auto\n",
                             (long long)p->accumulation, (long long)p->rows, (long long)p->T, (long long)p->T, (long long)p->rows, (long long)p->accumulation);
}

static hone_status write_run(const hone_tune_proposal *p, const hone_init *init, hone_buffer *out)
{
    hone_status status = hone_buffer_print(out, "\nlearning_rate: %g\nlr_scheduler_type: cosine\nwarmup_ratio: 0.03\nweight_decay: 0\n\n", p->learning_rate);
    if (!status && p->epochs > 0) status = hone_buffer_print(out, "# %s are enough for so many passes.\nnum_train_epochs: %g\n", init->time, p->epochs);
    else if (!status) status = hone_buffer_print(out, "# The clock ends the run and steers the rate; after a stop the same command goes on.\nmax_time: %s\n", init->time);
    if (!status) status = hone_buffer_print(out, "logging_steps: %lld\nsave_steps: %lld\n", (long long)hone_init_round((double)p->steps / 100),
                                            (long long)hone_init_round((double)p->steps / 5));
    if (!status && p->evaluations > 0) status = hone_buffer_print(out, "eval_steps: %lld\n", (long long)hone_init_round((double)p->steps / p->evaluations));
    return status;
}

static hone_status write_recipe(const hone_tune_proposal *p, const hone_init *init, const char *data)
{
    hone_buffer out = { 0 };
    hone_status status = write_head(p, init, &out);
    if (!status) status = write_data(p, init, data, &out);
    if (!status) status = write_method(p, &out);
    if (!status) status = write_run(p, init, &out);
    if (!status) status = hone_file_write(init->path, out.data, out.size);
    hone_buffer_release(&out);
    return status;
}

static void print_summary(const hone_tune_proposal *p, const hone_init *init)
{
    printf("  method    %s%s, %s numbers trained", hone_choice_name(p->method), p->checkpointing ? ", blocks recomputed" : "", hone_units_count((double)p->trained).s);
    if (p->refused[0]) printf("; %s", p->refused);
    printf("\n  step      %lld x %lld x %lld tokens, learning rate %g\n", (long long)p->accumulation, (long long)p->rows, (long long)p->T, p->learning_rate);
    printf("  run       %s: %s steps, %s tokens", hone_units_time(p->seconds).s, hone_units_grouped(p->steps).s, hone_units_count((double)p->tokens).s);
    printf(", %.2g passes over %s\n", p->passes, hone_units_count((double)p->data_tokens).s);
    printf("  memory    %s of", hone_units_bytes((double)p->process_bytes).s);
    printf(" %s\n\n%s is written; next: hone plan %s, hone tune %s\n", hone_units_bytes((double)p->memory_bytes).s, init->path, init->path, init->path);
}

hone_status hone_init_tune(const hone_init *init)
{
    char *folder = NULL;
    hone_tune_proposal proposal;
    hone_status status = HONE_OK;
    bool as_it_is = is_prepared(init->data);
    if (!as_it_is && hone_talks_named(init->data)) status = find_chat(init->data, &as_it_is);
    if (!status && !as_it_is) status = prepare(init, &folder);
    const hone_propose_tune_options options = { .model = init->model, .tokenizer = init->tokenizer, .data = folder ? folder : init->data, .output_dir = init->output_dir, .method = init->method,
                                                .time_s = init->time_s, .memory_bytes = init->memory_bytes };
    if (!status) status = hone_propose_tune(&options, &proposal, stdout);
    if (!status) status = write_recipe(&proposal, init, options.data);
    if (!status) print_summary(&proposal, init);
    hone_free(folder);
    return status;
}
