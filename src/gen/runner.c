// runner.c: see runner.h.
#include "gen/runner.h"
#include "base/cpu.h"
#include "base/memory.h"
#include "io/hf.h"
#include <string.h>

static hone_status open_all(hone_runner *r, const char *folder)
{
    if (!(r->folder = hone_strdup(folder))) return HONE_FAILED;
    hone_config config;
    hone_status status = hone_hf_load_config(&config, folder);
    if (status) return status;
    if (hone_hf_has_tokenizer(folder) && hone_tokenizer_load(folder, &r->tokenizer)) return HONE_FAILED;
    if (r->tokenizer && hone_tokenizer_vocab(r->tokenizer) > config.vocab)
        return hone_fail("%s: the tokenizer has %lld ids but the model only %lld; they do not belong together", folder,
                         (long long)hone_tokenizer_vocab(r->tokenizer), (long long)config.vocab);
    r->graph = hone_graph_new();
    return r->graph ? hone_model_declare(&r->model, r->graph, &config) : HONE_FAILED;
}

hone_status hone_runner_open(hone_runner *runner, const char *folder)
{
    double start = hone_clock_s();
    *runner = (hone_runner){ 0 };
    hone_status status = open_all(runner, folder);
    runner->load_s = hone_clock_s() - start;
    return status;
}

hone_status hone_runner_add_adapter(hone_runner *r, const char *folder)
{
    hone_peft *peft = hone_alloc(1, sizeof *peft);
    if (!peft) return HONE_FAILED;
    hone_status status = hone_peft_open(peft, folder);
    if (status) {
        hone_free(peft);
        return status;
    }
    r->adapter = peft;
    if (!hone_lora_declare(&r->model, &peft->options)) return HONE_OK;
    return hone_fail_context("%s does not fit %s; it belongs to another base model", folder, r->folder), HONE_FAILED;
}

static void *place(void *session, hone_tid id) { return hone_session_data(session, id); }

static bool has_program(const hone_graph *graph, const char *name)
{
    for (int i = 0; i < graph->n_program; i++) if (!strcmp(graph->program[i].name, name)) return true;
    return false;
}

hone_status hone_runner_start(hone_runner *r)
{
    double start = hone_clock_s();
    if (hone_session_plan(&r->session, r->graph, &(hone_session_options){ .backend = r->backend })) return HONE_FAILED;
    double need = (double)r->session.layout.arena_bytes, have = (double)hone_memory_available_bytes();
    if (!hone_backend_is_apart(r->session.backend) && need > have)   // a device says itself what it has
        return hone_fail("%s: needs %.0f MiB of memory but %.0f MiB are available; a smaller --batch or --context needs less",
                         r->folder, need / 0x1p20, have / 0x1p20);
    if (hone_session_allocate(&r->session)) return HONE_FAILED;
    if (hone_hf_load(&r->model, r->folder, place, &r->session)) return HONE_FAILED;
    hone_model_fill_constants(&r->model, place, &r->session);
    if (r->adapter && (hone_peft_note_base(&r->model, r->folder, place, &r->session) || hone_peft_load(r->adapter, &r->model, place, &r->session))) return HONE_FAILED;
    if (has_program(r->graph, "refresh")) hone_session_run(&r->session, "refresh");
    r->load_s += hone_clock_s() - start;
    return HONE_OK;
}

void hone_runner_close(hone_runner *r)
{
    if (r->session.backend) hone_session_close(&r->session);
    if (r->graph) hone_model_release(&r->model);
    hone_graph_free(r->graph);
    hone_tokenizer_free(r->tokenizer);
    if (r->adapter) hone_peft_close(r->adapter);
    hone_free(r->adapter);
    hone_free(r->folder);
    *r = (hone_runner){ 0 };
}

hone_status hone_runner_need_tokenizer(const hone_runner *r)
{
    if (r->tokenizer) return HONE_OK;
    return hone_fail("%s: has no tokenizer.json, so it cannot read or write text; give ids, or put the tokenizer there", r->folder);
}
