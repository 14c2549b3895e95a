// Chat templates: any text as a template, then the variables as JSON behind a zero byte: rendered within bounds, or refused in words. What
// is told of messages and generation blocks lies within the text, in its order.
#include "fuzz/pieces.h"
#include "text/jinja.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char usual[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"a b\"}, {\"role\": \"assistant\", \"content\": \"c\"}], \"x\": 3, \"l\": [1, \"b\"]}";
    fuzz_piece rest = { data, size }, template = fuzz_take(&rest, false);
    json_t *variables = NULL;
    hone_jinja *jinja;
    if (rest.size == 0 || hone_json_parse("variables", (const char *)rest.data, rest.size, &variables) || !json_is_object(variables)) {
        json_decref(variables);
        FUZZ_HOLDS(hone_json_parse("usual", usual, sizeof usual - 1, &variables) == HONE_OK);
    }
    char *text = fuzz_text(template);
    hone_error_clear();
    if (hone_jinja_parse("fuzz", text, template.size, &jinja)) FUZZ_HOLDS(!jinja && *hone_error());
    else {
        hone_jinja_trace trace = { .list = "messages" };
        hone_buffer out = { 0 };
        if (hone_jinja_render(jinja, variables, 1764547200, &trace, &out)) FUZZ_HOLDS(out.size == 0 && *hone_error());
        for (int64_t i = 0; i < trace.n_turns && out.size; i++) FUZZ_HOLDS(trace.turn[i].from < trace.turn[i].to && trace.turn[i].to <= out.size);
        for (int64_t i = 0; i < trace.n_generations && out.size; i++) FUZZ_HOLDS(trace.generation[i].from < trace.generation[i].to && trace.generation[i].to <= out.size);
        hone_jinja_trace_release(&trace);
        hone_buffer_release(&out);
        hone_jinja_free(jinja);
    }
    free(text);
    json_decref(variables);
    return 0;
}
