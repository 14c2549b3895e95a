// sample.c: what the model writes by now: the recipe's prompts continued, a few words of quality that no loss tells.
#include "train/run.h"

// Near the model's own distribution; a little below it reads better.
static const double TEMPERATURE = 0.8;

hone_status hone_run_open_samples(hone_run *run)
{
    if (run->job.n_prompt == 0) return HONE_OK;
    return hone_generator_open(&run->generator, &run->job.session, &run->job.model, &run->job.decode);
}

// One line: control characters would break the layout of what is shown.
static void flatten(hone_buffer *text)
{
    for (size_t i = 0; i < text->size; i++)
        if ((unsigned char)text->data[i] < ' ') text->data[i] = ' ';
}

static hone_status show(hone_run *run, const hone_request *request)
{
    hone_buffer text = { 0 };
    hone_status status = hone_tokenizer_decode(run->job.tokenizer, request->ids, request->n_ids, true, &text);
    if (!status) status = hone_buffer_append(&text, "", 0);
    if (!status) {
        text.size = hone_utf8_valid(text.data, text.size); // a character may be cut in half at the end
        text.data[text.size] = '\0';
        status = hone_log_add(&run->log, "sample", json_pack("{s:I, s:s}", "step", (json_int_t)run->loop.step, "text", text.data));
        flatten(&text);
        hone_progress_say(&run->progress, "  sample @%lld  %s", (long long)run->loop.step, text.data);
    }
    hone_buffer_release(&text);
    return status;
}

hone_status hone_run_sample(hone_run *run)
{
    const hone_recipe *r = run->recipe;
    hone_session_run(&run->job.session, "refresh"); // the weights have changed since
    hone_status status = HONE_OK;
    for (int64_t i = 0; i < run->job.n_prompt && !status; i++) {
        hone_request request = { .prompt = run->job.prompt[i].data, .n_prompt = run->job.prompt[i].count, .max_new = r->sample_tokens,
                                 .key = (uint64_t)i, .sampling = HONE_SAMPLING_GREEDY };
        request.sampling.temperature = TEMPERATURE;
        request.sampling.seed = (uint64_t)r->seed;
        status = hone_generator_run(&run->generator, &request, 1, NULL);
        if (!status) status = show(run, &request);
        hone_request_release(&request);
    }
    return status;
}
