// encode.c: the way of a text through a tokenizer, and what each thread needs for it.
#include "text/parts.h"
#include "base/cpu.h"

#include <string.h>

hone_status hone_ids_reserve(hone_ids *ids, int64_t more)
{
    if (ids->count + more <= ids->capacity) return HONE_OK;
    int64_t capacity = ids->capacity * 2 > ids->count + more ? ids->capacity * 2 : ids->count + more + 16;
    int32_t *data = hone_realloc(ids->data, (size_t)capacity, sizeof *data);
    if (!data) return HONE_FAILED;
    ids->data = data;
    ids->capacity = capacity;
    return HONE_OK;
}

hone_status hone_ids_append(hone_ids *ids, int32_t id)
{
    if (hone_ids_reserve(ids, 1)) return HONE_FAILED;
    ids->data[ids->count++] = id;
    return HONE_OK;
}

void hone_encoder_free(hone_encoder *encoder)
{
    if (!encoder) return;
    hone_matcher_release(&encoder->matcher);
    for (int i = 0; i < 2; i++) hone_buffer_release(&encoder->normal[i]);
    for (int i = 0; i < HONE_MAX_COMPONENTS; i++) hone_buffer_release(&encoder->stage[i]);
    hone_free(encoder->scratch);
    hone_free(encoder->symbol);
    hone_free(encoder->heap);
    hone_free(encoder->lattice);
    hone_free(encoder->cache);
    hone_free(encoder);
}

// Encoders are kept for the next caller: the cache stays warm. The lock is the only thing that changes in a tokenizer.
static hone_encoder *borrow(const hone_tokenizer *tokenizer)
{
    hone_tokenizer *shared = (hone_tokenizer *)tokenizer;
    pthread_mutex_lock(&shared->lock);
    hone_encoder *encoder = shared->idle;
    if (encoder) shared->idle = encoder->next;
    pthread_mutex_unlock(&shared->lock);
    if (encoder) return encoder;
    encoder = hone_alloc(1, sizeof *encoder);
    if (!encoder) return NULL;
    encoder->tokenizer = tokenizer;
    encoder->cache_slots = HONE_CACHE_FIRST_SLOTS;
    encoder->cache = hone_alloc(HONE_CACHE_FIRST_SLOTS, sizeof *encoder->cache);
    if (encoder->cache && hone_matcher_init(&encoder->matcher) == HONE_OK) return encoder;
    hone_encoder_free(encoder);
    return NULL;
}

static void give_back(const hone_tokenizer *tokenizer, hone_encoder *encoder)
{
    hone_tokenizer *shared = (hone_tokenizer *)tokenizer;
    pthread_mutex_lock(&shared->lock);
    encoder->next = shared->idle;
    shared->idle = encoder;
    pthread_mutex_unlock(&shared->lock);
}

// A stretch between raw added tokens: normalized, cut at the added tokens that are sought then, the rest encoded.
static hone_status encode_section(hone_encoder *encoder, const char *text, size_t size, bool first, bool plain)
{
    const hone_tokenizer *tokenizer = encoder->tokenizer;
    if (size == 0) return HONE_OK;
    hone_status status = hone_normalize(encoder, text, size, first, &text, &size);
    for (size_t place = 0; !status && place < size;) {
        size_t start, stop;
        int32_t id = hone_added_find(&tokenizer->normalized, tokenizer, text, size, place, plain, &start, &stop);
        if (start > place) status = hone_pretokenize(encoder, 0, (hone_piece){ text + place, start - place, first && place == 0 });
        if (!status && id >= 0) status = hone_ids_append(encoder->out, id);
        place = stop;
    }
    return status;
}

static hone_status encode_valid(hone_encoder *encoder, const char *text, size_t size, bool first, bool plain)
{
    const hone_tokenizer *tokenizer = encoder->tokenizer;
    hone_status status = HONE_OK;
    for (size_t place = 0; !status && place < size;) {
        size_t start, stop;
        int32_t id = hone_added_find(&tokenizer->raw, tokenizer, text, size, place, plain, &start, &stop);
        status = encode_section(encoder, text + place, start - place, first && place == 0, plain);
        if (!status && id >= 0) status = hone_ids_append(encoder->out, id);
        place = stop;
    }
    return status;
}

// An invalid byte is its byte token, or the unknown token.
static hone_status encode_byte(hone_encoder *encoder, uint8_t byte)
{
    const hone_tokenizer *tokenizer = encoder->tokenizer;
    int32_t id = tokenizer->byte_level || tokenizer->byte_fallback ? tokenizer->byte_id[byte] : -1;
    if (id < 0) id = tokenizer->unk;
    if (id < 0) return hone_fail("byte 0x%02X is not valid UTF-8, and the tokenizer has neither byte tokens nor an unknown token", byte);
    return hone_ids_append(encoder->out, id);
}

static hone_status encode_text(hone_encoder *encoder, const char *text, size_t size, int flags)
{
    hone_status status = HONE_OK;
    for (size_t place = 0; !status && place < size;) {
        size_t valid = hone_utf8_valid(text + place, size - place);
        bool first = place == 0 && !(flags & HONE_ENCODE_MIDDLE);
        if (valid) status = encode_valid(encoder, text + place, valid, first, flags & HONE_ENCODE_PLAIN);
        place += valid;
        if (!status && place < size) status = encode_byte(encoder, (uint8_t)text[place++]);
    }
    return status;
}

static hone_status push_all(hone_ids *out, const int32_t *ids, int64_t count)
{
    if (count == 0) return HONE_OK;
    if (hone_ids_reserve(out, count)) return HONE_FAILED;
    memcpy(out->data + out->count, ids, (size_t)count * sizeof *ids);
    out->count += count;
    return HONE_OK;
}

static hone_status encode_with(hone_encoder *encoder, const char *text, size_t size, int flags, hone_ids *out)
{
    const hone_tokenizer *tokenizer = encoder->tokenizer;
    bool special = flags & HONE_ENCODE_SPECIAL;
    encoder->out = out;
    hone_status status = special ? push_all(out, tokenizer->prefix, tokenizer->n_prefix) : HONE_OK;
    if (!status) status = encode_text(encoder, text, size, flags);
    if (!status && special) status = push_all(out, tokenizer->suffix, tokenizer->n_suffix);
    return status;
}

hone_status hone_tokenizer_encode(const hone_tokenizer *tokenizer, const char *text, size_t size, int flags, hone_ids *out)
{
    hone_encoder *encoder = borrow(tokenizer);
    if (!encoder) return HONE_FAILED;
    hone_status status = encode_with(encoder, text, size, flags, out);
    give_back(tokenizer, encoder);
    return status;
}

hone_status hone_tokenizer_count_pieces(const hone_tokenizer *tokenizer, const char *text, size_t size, struct hone_words *words)
{
    hone_encoder *encoder = borrow(tokenizer);
    hone_ids ids = { 0 }; // of added tokens
    if (!encoder) return HONE_FAILED;
    encoder->out = &ids;
    encoder->count = words;
    hone_status status = encode_text(encoder, text, size, 0);
    encoder->count = NULL;
    give_back(tokenizer, encoder);
    hone_free(ids.data);
    return status;
}

hone_status hone_tokenizer_encode_piece(const hone_tokenizer *tokenizer, const char *text, size_t size, hone_ids *out)
{
    hone_encoder *encoder = borrow(tokenizer);
    if (!encoder) return HONE_FAILED;
    encoder->out = out;
    hone_status status = tokenizer->model->encode(encoder, text, size);
    give_back(tokenizer, encoder);
    return status;
}

hone_status hone_tokenizer_encode_many(const hone_tokenizer *tokenizer, int64_t n, const char *const *text, const size_t *size, int flags, hone_ids *out)
{
    int threads;
    hone_status status = hone_cpu_threads(&threads);
    if (status) return status;
    char message[512] = ""; // messages are per thread: the failing one's comes back to the caller's
    #pragma omp parallel num_threads(threads)
    {
        // One encoder a thread: borrowed anew for each text, its cache would wander from core to core.
        hone_encoder *encoder = borrow(tokenizer);
        #pragma omp for schedule(dynamic, 1)
        for (int64_t i = 0; i < n; i++) {
            hone_ids ids = { .data = out[i].data, .capacity = out[i].capacity }; // in out[] itself, neighbours would fight for a line
            hone_status one = encoder ? encode_with(encoder, text[i], size[i], flags, &ids) : HONE_FAILED;
            out[i] = ids;
            if (one) {
                #pragma omp critical
                if (!status) {
                    status = one;
                    strncpy(message, hone_error(), sizeof message - 1);
                }
            }
        }
        if (encoder) give_back(tokenizer, encoder);
    }
    return status ? hone_fail("%s", message) : HONE_OK;
}
