// cmd_merge.c: hone merge: an adapter made part of its model.
#include "base/memory.h"
#include "cli/model.h"
#include "cli/verbs.h"
#include "gen/merge.h"
#include "io/hf.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void *place(void *session, hone_tid id) { return hone_session_data(session, id); }

static hone_status merge(const char *folder, const hone_cli_model *how, const char *data, const char *output)
{
    hone_runner runner;
    hone_ids ids = { 0 };
    hone_merge m;
    hone_status status = hone_cli_open_model(&runner, folder, how);
    if (!status) status = hone_merge_read_ids(&runner, data, &ids);
    if (!status) status = hone_merge_adapter(&runner, &ids, &m);
    const hone_hf_tokenizer tokenizer = { runner.tokenizer ? folder : NULL, runner.tokenizer };
    if (!status) status = hone_hf_save(&runner.model, output, &tokenizer, place, NULL, &runner.session);
    if (!status) {
        printf("merge  %" PRId64 " matrices of %s, rank %" PRId64 ", into %s\n", runner.model.lora.n_module, how->adapter, runner.model.lora.rank, output);
        if (runner.adapter->base_blocks && runner.adapter->base_blocks[0])
            printf("  the adapter was trained on these matrices in %s; it is merged into them as the base has them\n", runner.adapter->base_blocks);
        printf("  KL from base + adapter, nats a token over %" PRId64 " tokens of %s\n", m.tokens, data);
        printf("    merged     %.3g\n    base       %.3g\n", m.kl_merged, m.kl_base);
    }
    hone_free(ids.data);
    hone_runner_close(&runner);
    return status;
}

hone_status hone_cmd_merge(int argc, char **argv)
{
    hone_cli_model how = { 0 };
    const char *data = NULL, *output = NULL;
    bool done;
    const hone_cli_option options[] = {
        { "adapter", HONE_CLI_TEXT, &how.adapter, "DIR", "the PEFT folder: what hone tune or PEFT wrote" },
        { "output", HONE_CLI_TEXT, &output, "DIR", "the merged model's folder; it must not be the base's" },
        { "data", HONE_CLI_TEXT, &data, "PATH", "real text to compare on: prepared folder, .u16/.u32 token file, .jsonl of {\"text\"}, or a text file" },
        { "backend", HONE_CLI_TEXT, &how.backend, "NAME", "cpu (default), cuda, ref, or the path of a shared object" }, { 0 } };
    const hone_cli_command command = { "merge", "MODEL --adapter DIR --output DIR --data PATH",
        "Writes a Hugging Face folder whose matrices are W + scale B A, in f32. Says how far the merged model and the base are from\n"
        "base and adapter side by side: Kullback-Leibler divergence of next-token probabilities on the first 256 tokens of the text.\n"
        "That of the merged model is rounding; that of the base is what the adapter does.",
        "hone merge SmolLM2-135M --adapter run/adapter --output merged --data held.txt", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (argc != 1) return hone_fail_usage("merge: give one model folder%s%s", argc > 1 ? ", not also " : "", argc > 1 ? argv[1] : "");
    if (!how.adapter) return hone_fail_usage("merge: --adapter DIR is missing");
    if (!output) return hone_fail_usage("merge: --output DIR is missing");
    if (!data) return hone_fail_usage("merge: --data PATH is missing: some text to compare the models on");
    if (!strcmp(output, argv[0])) return hone_fail_usage("merge: --output %s is the base model's own folder; give another", output);
    return merge(argv[0], &how, data, output);
}
