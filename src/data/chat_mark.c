// chat_mark.c: see chat_mark.h.
#include "data/chat_mark.h"
#include "data/chat_record.h"

#include <string.h>

const char *const hone_chat_fate_name[HONE_CHAT_FATES] = { "kept", "masked", "too_long", "unplaced" };
const char *const hone_chat_fate_what[HONE_CHAT_FATES] = { "kept", "no token to train in it", "longer than the cut-off length", "the tokenizer changes its text, so answers cannot be placed" };

void hone_chat_text_release(hone_chat_text *t)
{
    hone_buffer_release(&t->text);
    hone_free(t->span);
    hone_jinja_trace_release(&t->trace);
    *t = (hone_chat_text){ 0 };
}

static hone_status add_span(hone_chat_text *t, size_t from, size_t to)
{
    if (from >= to) return HONE_OK;
    if (t->n_spans && t->span[t->n_spans - 1].to >= from) { // one goes on with the other
        if (t->span[t->n_spans - 1].to < to) t->span[t->n_spans - 1].to = to;
        return HONE_OK;
    }
    if (hone_grow(&t->span, t->n_spans, &t->capacity, sizeof *t->span)) return HONE_FAILED;
    t->span[t->n_spans++] = (hone_jinja_span){ .from = from, .to = to };
    return HONE_OK;
}

// --- which turns

static bool is_trained(const hone_chat_rules *rules, const json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    const json_t *weight = json_object_get(message, "weight");
    if (json_is_number(weight) && json_number_value(weight) == 0) return false; // as OpenAI's files say it of a message
    if (!role) return false;
    for (int i = 0; i < rules->n_roles; i++) if (!strcmp(role, rules->role[i])) return true;
    return rules->n_roles == 0 && !strcmp(role, "assistant");
}

static bool is_answer(const json_t *message)
{
    const char *role = json_string_value(json_object_get(message, "role"));
    return role && !strcmp(role, "assistant");
}

// How much of a turn is the header that asks for an answer: all of the opening, or the tokens at its start that both have.
static hone_status header_size(const hone_chat *chat, const hone_tokenizer *tokenizer, const char *turn, size_t size, size_t *header)
{
    size_t most = chat->opening.size < size ? chat->opening.size : size, same = 0, at = 0;
    while (same < most && turn[same] == chat->opening.data[same]) same++;
    *header = same;
    if (same == chat->opening.size) return HONE_OK;
    hone_ids ids = { 0 };
    hone_status status = hone_tokenizer_encode(tokenizer, chat->opening.data, chat->opening.size, HONE_ENCODE_MIDDLE, &ids);
    *header = 0;
    for (int64_t i = 0; i < ids.count && !status; i++) {
        size_t n;
        hone_tokenizer_token_bytes(tokenizer, ids.data[i], &n);
        if ((at += n) > same) break;
        *header = at;
    }
    hone_free(ids.data);
    return status;
}

// Whose message was written at a place; -1: nobody's.
static int64_t item_at(const hone_jinja_trace *trace, size_t place)
{
    for (int64_t i = 0; i < trace->n_turns; i++)
        if (trace->turn[i].from <= place && place < trace->turn[i].to) return trace->turn[i].item;
    return -1;
}

// Of the messages from `first` on.
static hone_status mark_turns(const hone_chat *chat, const hone_chat_rules *rules, const json_t *messages, int64_t first, const hone_tokenizer *tokenizer, const char *where, hone_chat_text *out)
{
    const hone_jinja_trace *trace = &out->trace;
    hone_status status = HONE_OK;
    if (trace->n_generations && rules->n_roles == 0) {
        for (int64_t i = 0; i < trace->n_generations && !status; i++) {
            const int64_t item = item_at(trace, trace->generation[i].from);
            if (item < 0 ? first == 0 : item >= first && is_trained(rules, json_array_get(messages, (size_t)item))) status = add_span(out, trace->generation[i].from, trace->generation[i].to);
        }
        return status;
    }
    if (trace->n_turns == 0) return hone_fail("%s: the chat template does not write the messages in a loop over them, so answers cannot be told from the rest; train on all of it, or name another template", where);
    for (int64_t i = 0; i < trace->n_turns && !status; i++) {
        const json_t *message = json_array_get(messages, (size_t)trace->turn[i].item);
        size_t from = trace->turn[i].from, header = 0;
        if (trace->turn[i].item < first || !is_trained(rules, message)) continue;
        if (is_answer(message)) status = header_size(chat, tokenizer, out->text.data + from, trace->turn[i].to - from, &header);
        if (!status) status = add_span(out, from + header, trace->turn[i].to);
    }
    return status;
}

static void begin_text(hone_chat_text *out)
{
    out->text.size = 0;
    out->n_spans = 0;
    out->trace.list = "messages";
}

static hone_status parse(const char *json, size_t size, const char *where, json_t **record)
{
    hone_status status = hone_json_parse(where, json, size, record);
    return !status && !json_is_object(*record) ? hone_fail("%s: the line is no JSON object", where) : status;
}

static hone_status render(const hone_chat *chat, const json_t *conversation, const char *where, hone_chat_text *out)
{
    hone_status status = hone_chat_render(chat, conversation, false, &out->trace, &out->text);
    if (status) hone_fail_context("%s", where);
    return status;
}

hone_status hone_chat_mark(const hone_chat *chat, const hone_chat_rules *rules, const char *json, size_t size, const char *where, const hone_tokenizer *tokenizer, hone_chat_text *out)
{
    json_t *record = NULL, *conversation = NULL;
    const json_t *text;
    begin_text(out);
    hone_status status = parse(json, size, where, &record);
    if (!status) status = hone_chat_record(record, where, &conversation, &text);
    if (!status && text) {
        if (json_string_length(text)) status = hone_buffer_append(&out->text, json_string_value(text), json_string_length(text));
    } else if (!status) status = render(chat, conversation, where, out);
    if (!status && (text || rules->train_on_prompt)) status = add_span(out, 0, out->text.size);
    else if (!status && out->text.size) status = mark_turns(chat, rules, json_object_get(conversation, "messages"), 0, tokenizer, where, out);
    json_decref(conversation);
    json_decref(record);
    return status;
}

hone_status hone_chat_mark_pair(const hone_chat *chat, const hone_chat_rules *rules, const char *json, size_t size, const char *where, const hone_tokenizer *tokenizer, hone_chat_text out[2])
{
    json_t *record = NULL, *conversation[2] = { NULL, NULL };
    int64_t prompt;
    hone_status status = parse(json, size, where, &record);
    if (!status) status = hone_chat_pair(record, where, conversation, &prompt);
    for (int side = 0; side < 2 && !status; side++) {
        begin_text(&out[side]);
        status = render(chat, conversation[side], where, &out[side]);
        if (!status) status = mark_turns(chat, rules, json_object_get(conversation[side], "messages"), prompt, tokenizer, where, &out[side]);
    }
    json_decref(conversation[0]);
    json_decref(conversation[1]);
    json_decref(record);
    return status;
}

// --- tokens

// Encodes piece by piece, cut at the ends of spans. Where that gives the ids of the whole, as it does wherever special tokens stand at
// the cuts, each id's place is known.
static hone_status encode_pieces(const hone_tokenizer *tokenizer, const char *text, size_t size, const hone_jinja_span *span, int64_t n_spans, hone_ids *ids, hone_ids *trained)
{
    hone_status status = HONE_OK;
    size_t at = 0;
    for (int64_t i = 0; i < 2 * n_spans + 1 && !status; i++) {
        size_t to = i == 2 * n_spans ? size : i % 2 ? span[i / 2].to : span[i / 2].from;
        if (to > at) status = hone_tokenizer_encode(tokenizer, text + at, to - at, at ? HONE_ENCODE_MIDDLE : 0, ids);
        while (!status && trained->count < ids->count) status = hone_ids_append(trained, (int32_t)(i % 2));
        at = to;
    }
    return status;
}

// Where tokens run over a cut: by their bytes, which together must be the text, but for a blank that some tokenizers put in front.
static hone_status place_bytes(const hone_tokenizer *tokenizer, const char *text, size_t size, const hone_jinja_span *span, int64_t n_spans, const hone_ids *whole, hone_ids *trained, bool *placed)
{
    size_t at = 0;
    int64_t s = 0;
    hone_status status = HONE_OK;
    *placed = true;
    for (int64_t i = 0; i < whole->count && *placed && !status; i++) {
        size_t n;
        const char *bytes = hone_tokenizer_token_bytes(tokenizer, whole->data[i], &n);
        bool fits = bytes && n <= size - at && memcmp(bytes, text + at, n) == 0;
        if (!fits && bytes && n && bytes[0] == ' ' && n - 1 <= size - at && memcmp(bytes + 1, text + at, n - 1) == 0) { n--; fits = true; }
        *placed = fits;
        while (s < n_spans && span[s].to <= at) s++;
        status = hone_ids_append(trained, fits && s < n_spans && span[s].from < at + n);
        at += n;
    }
    *placed = *placed && at == size;
    return status;
}

static hone_status append(hone_ids *to, const hone_ids *from)
{
    hone_status status = HONE_OK;
    for (int64_t i = 0; i < from->count && !status; i++) status = hone_ids_append(to, from->data[i]);
    return status;
}

hone_status hone_chat_encode(const hone_chat_rules *rules, const hone_tokenizer *tokenizer, const char *text, size_t size, const hone_jinja_span *span, int64_t n_spans,
                             hone_ids *ids, hone_ids *trained, hone_chat_fate *fate)
{
    hone_ids whole = { 0 }, pieces = { 0 }, mark = { 0 };
    bool any = false;
    *fate = HONE_CHAT_MASKED;
    if (n_spans == 0 || size == 0) return HONE_OK;
    hone_status status = hone_tokenizer_encode(tokenizer, text, size, 0, &whole);
    if (!status) status = encode_pieces(tokenizer, text, size, span, n_spans, &pieces, &mark);
    bool placed = pieces.count == whole.count && (whole.count == 0 || memcmp(pieces.data, whole.data, (size_t)whole.count * sizeof *whole.data) == 0);
    if (!status && !placed) {
        mark.count = 0;
        status = place_bytes(tokenizer, text, size, span, n_spans, &whole, &mark, &placed);
    }
    for (int64_t i = 1; i < mark.count; i++) any |= mark.data[i] != 0; // the first token has none before it that could foretell it
    *fate = !placed ? HONE_CHAT_UNPLACED : !any ? HONE_CHAT_MASKED : rules->cutoff_len && whole.count > rules->cutoff_len ? HONE_CHAT_LONG : HONE_CHAT_KEPT;
    if (!status && *fate == HONE_CHAT_KEPT) status = append(ids, &whole);
    if (!status && *fate == HONE_CHAT_KEPT) status = append(trained, &mark);
    hone_free(whole.data);
    hone_free(pieces.data);
    hone_free(mark.data);
    return status;
}
