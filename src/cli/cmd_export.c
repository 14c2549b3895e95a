// cmd_export.c: hone export: a model as others read it: a GGUF file with its Modelfile, or a Hugging Face folder. What was written
// is read back and compared with the model in memory before it gets its name.
#include "cli/verbs.h"
#include "base/memory.h"
#include "cli/args.h"
#include "gen/runner.h"
#include "gen/score.h"
#include "io/gguf_model.h"
#include "io/hf.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_TOKENS = 128 };

// Read back in every export: prose, numbers, another alphabet, code.
static const char sample[] = "The people of the town had 1234 reasons to be glad, and said so: \"It rained at last!\"\n"
                             "Der Zug f\xc3\xa4hrt um 7:30 Uhr. int main(void) { return 0; }";

typedef struct {
    hone_runner runner;
    hone_scorer scorer;
    hone_ids ids;                                // what is scored before and after
    float before[MOST_TOKENS], after[MOST_TOKENS];
} job;

static void *place(void *session, hone_tid id) { return hone_session_data(session, id); }

// The sample's tokens; without a tokenizer, ids from all over the vocabulary.
static hone_status choose_ids(job *j)
{
    const hone_config *c = &j->runner.model.config;
    int64_t most = c->max_positions < MOST_TOKENS ? c->max_positions : MOST_TOKENS;
    hone_status status = HONE_OK;
    if (j->runner.tokenizer) status = hone_tokenizer_encode(j->runner.tokenizer, sample, sizeof sample - 1, HONE_ENCODE_SPECIAL, &j->ids);
    else for (int64_t i = 0; i < most && !status; i++) status = hone_ids_append(&j->ids, (int32_t)(i * 7919 % c->vocab));
    if (j->ids.count > most) j->ids.count = most;
    return status;
}

static hone_status score(job *j, float *logprob)
{
    bool ran;
    hone_status status = hone_scorer_add(&j->scorer, &(hone_score_item){ j->ids.data, j->ids.count, logprob }, "the sample", &ran);
    if (!status) hone_scorer_flush(&j->scorer);
    return status;
}

static hone_status start(job *j, const char *model)
{
    hone_train_io io;
    hone_status status = hone_runner_open(&j->runner, model);
    if (!status) status = choose_ids(j);
    if (!status) status = hone_model_build_score(&j->runner.model, 1, j->ids.count, &io);
    if (!status) status = hone_runner_start(&j->runner);
    if (!status) status = hone_scorer_open(&j->scorer, &j->runner.session, &j->runner.model, &io);
    return status ? status : score(j, j->before);
}

// A gain that is kept less 1 is written with it, which rounds the gain: so far log-probabilities may be off for that.
static const double GAIN_ROUNDING = 1e-3;

// Puts the weights at `path` in the place of the model's and scores the sample again.
static hone_status score_again(job *j, const char *path, double allowed, const char *kind)
{
    hone_status status = hone_hf_load(&j->runner.model, path, place, &j->runner.session);
    if (!status) status = score(j, j->after);
    double sum = 0, most = 0;
    for (int64_t i = 1; i < j->ids.count && !status; i++) {
        double off = fabs((double)j->after[i] - (double)j->before[i]);
        sum += off;
        if (!(off <= most)) most = off;   // NaN counts
    }
    if (status) return status;
    if (!isfinite(most) || most > allowed)
        return hone_fail("%s: read back, the log-probabilities of %" PRId64 " tokens are up to %g off; nothing was written", path, j->ids.count - 1, most);
    printf("  read back   log-probabilities of %" PRId64 " tokens off by %.4f nats on average, %.4f at most (%s)\n", j->ids.count - 1,
           j->ids.count > 1 ? sum / (double)(j->ids.count - 1) : 0, most, kind);
    return HONE_OK;
}

static hone_status compare_tokenizer(const job *j, const char *path)
{
    hone_tokenizer *written = NULL;
    hone_ids ids = { 0 };
    hone_status status = hone_tokenizer_load(path, &written);
    if (!status) status = hone_tokenizer_encode(written, sample, sizeof sample - 1, HONE_ENCODE_SPECIAL, &ids);
    if (ids.count > j->ids.count) ids.count = j->ids.count;
    if (!status && (ids.count != j->ids.count || memcmp(ids.data, j->ids.data, (size_t)ids.count * sizeof *ids.data) != 0))
        status = hone_fail("%s: the tokenizer reads back as another, which gives other ids; nothing was written", path);
    hone_free(ids.data);
    hone_tokenizer_free(written);
    return status;
}

// chat_template.jinja beside a folder's tokenizer; NULL: none. hone_free() it.
static hone_status read_template(const char *model, char **text)
{
    size_t size;
    *text = NULL;
    if (!hone_dir_exists(model)) return HONE_OK;
    char *path = hone_path_join(model, "chat_template.jinja");
    hone_status status = path ? HONE_OK : HONE_FAILED;
    if (path && hone_file_exists(path)) status = hone_file_read(path, text, &size);
    hone_free(path);
    return status;
}

// For Ollama: `ollama create NAME -f F.Modelfile`. It knows common chat templates from the file itself.
static hone_status write_modelfile(const job *j, const char *output)
{
    const char *slash = strrchr(output, '/'), *name = slash ? slash + 1 : output;
    const hone_config *c = &j->runner.model.config;
    hone_buffer text = { 0 };
    char *path = hone_format("%.*s.Modelfile", (int)(strlen(output) - strlen(".gguf")), output);
    hone_status status = path ? hone_buffer_print(&text, "FROM ./%s\nPARAMETER num_ctx %" PRId64 "\n", name, c->max_positions) : HONE_FAILED;
    for (int64_t i = 0; i < c->n_eos && !status && j->runner.tokenizer; i++) {
        size_t size;
        const char *end = hone_tokenizer_token(j->runner.tokenizer, (int32_t)c->eos[i], &size);
        if (end && !memchr(end, '"', size)) status = hone_buffer_print(&text, "PARAMETER stop \"%.*s\"\n", (int)size, end);
    }
    if (!status) status = hone_file_write(path, text.data, text.size);
    if (!status) printf("  Modelfile   %s\n", path);
    hone_buffer_release(&text);
    hone_free(path);
    return status;
}

static hone_status export_gguf(job *j, const char *model, const char *output, const hone_gguf_kind *kind)
{
    hone_runner *r = &j->runner;
    const char *slash = strrchr(output, '/'), *name = slash ? slash + 1 : output;
    char *part = hone_format("%s.part", output), *title = hone_format("%.*s", (int)(strlen(name) - strlen(".gguf")), name), *template = NULL;
    double off = 0;
    bool folder;
    int64_t size = 0, time_ns;
    hone_status status = part && title ? read_template(model, &template) : HONE_FAILED;
    if (!status) status = hone_gguf_save(&r->model, part, title, kind, r->tokenizer, template, place, &r->session);
    if (!status) status = hone_gguf_compare(&r->model, part, kind, place, &r->session, &off);
    if (!status) status = hone_file_about(part, &folder, &size, &time_ns);
    if (!status) printf("export  %s  %s  %.1f MiB\n  weights     off by %.3g %% (root mean square of the differences over that of the weights)\n",
                        output, kind->name, (double)size / 0x1p20, 100 * off);
    if (!status) status = score_again(j, part, kind->most_off > 0 ? INFINITY : r->model.config.norm_base != 0 ? GAIN_ROUNDING : 0, kind->name);
    if (!status && r->tokenizer) status = compare_tokenizer(j, part);
    if (!status) status = hone_file_publish(part, output);
    else if (part) hone_dir_remove(part);
    if (!status) status = write_modelfile(j, output);
    hone_free(template);
    hone_free(title);
    hone_free(part);
    return status;
}

static hone_status export_folder(job *j, const char *model, const char *output)
{
    hone_runner *r = &j->runner;
    const hone_hf_tokenizer tokenizer = { r->tokenizer ? model : NULL, r->tokenizer };
    if (hone_dir_exists(output)) return hone_fail("%s: is there already; remove it or give another name", output);
    char *part = hone_format("%s.part", output);
    hone_status status = part ? hone_hf_save(&r->model, part, &tokenizer, place, NULL, &r->session) : HONE_FAILED;
    if (!status) printf("export  %s  Hugging Face folder\n", output);
    if (!status) status = score_again(j, part, 0, "f32");
    if (!status && r->tokenizer) status = compare_tokenizer(j, part);
    if (!status) status = hone_dir_publish(part, output);
    else if (part) hone_dir_remove(part);
    hone_free(part);
    return status;
}

static bool ends_in_gguf(const char *path)
{
    size_t n = strlen(path);
    return n > 5 && strcmp(path + n - 5, ".gguf") == 0 && path[n - 6] != '/';
}

static hone_status find_kind(const char *type, bool gguf, const hone_gguf_kind **kind)
{
    *kind = hone_gguf_kind_find(type ? type : "f16");
    if (!gguf && type && strcmp(type, "f32") != 0) return hone_fail_usage("export: --type %s: a Hugging Face folder is written in f32; name the output F.gguf for other types", type);
    if (*kind) return HONE_OK;
    hone_buffer known = { 0 };
    for (int i = 0; hone_gguf_kind_at(i); i++) hone_buffer_print(&known, "%s%s", i ? ", " : "", hone_gguf_kind_at(i)->name);
    hone_status status = hone_fail_usage("export: --type %s: give one of %s", type, known.data ? known.data : "");
    hone_buffer_release(&known);
    return status;
}

hone_status hone_cmd_export(int argc, char **argv)
{
    const char *output = NULL, *type = NULL;
    bool bare = false, done;
    const hone_cli_option options[] = {
        { "output", HONE_CLI_TEXT, &output, "PATH", "F.gguf, or a folder to be made" },
        { "type", HONE_CLI_TEXT, &type, "TYPE", "of a GGUF file's matrices: f32, f16 (default), bf16, q8_0 or q4_k_m" },
        { "no-tokenizer", HONE_CLI_FLAG, &bare, NULL, "leaves the tokenizer out" }, { 0 } };
    const hone_cli_command command = { "export", "MODEL --output PATH [options]",
        "Writes a model for others to run: F.gguf (llama.cpp, Ollama: with tokenizer, chat template and F.Modelfile) or a Hugging\n"
        "Face folder (transformers, vLLM). MODEL is a Hugging Face folder or a GGUF file. What was written is read back and compared\n"
        "with the model, weights and log-probabilities; only then it gets its name.",
        "hone export run/model --output story.gguf --type q8_0", options };
    const hone_gguf_kind *kind;
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (argc != 1) return hone_fail_usage("export: give one model%s%s", argc > 1 ? ", not also " : "", argc > 1 ? argv[1] : "");
    if (!output) return hone_fail_usage("export: --output PATH is missing");
    bool gguf = ends_in_gguf(output);
    if ((status = find_kind(type, gguf, &kind))) return status;
    job j = { 0 };
    status = start(&j, argv[0]);
    if (!status && bare) {
        hone_tokenizer_free(j.runner.tokenizer);
        j.runner.tokenizer = NULL;
    }
    if (!status) status = gguf ? export_gguf(&j, argv[0], output, kind) : export_folder(&j, argv[0], output);
    hone_free(j.ids.data);
    hone_scorer_close(&j.scorer);
    hone_runner_close(&j.runner);
    return status;
}
