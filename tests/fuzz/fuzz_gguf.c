// GGUF: any bytes are a file or refused; what opens can be asked for every value; a vocabulary that loads encodes and decodes; the
// weights of a model that is small enough load, and read back from what hone writes of them.
#include "fuzz/pieces.h"
#include "fuzz/use_tokenizer.h"
#include "io/gguf_model.h"

enum { MOST_ELEMENTS = 1 << 18 };
typedef struct { hone_graph *graph; float **place; } store;

static void *place(void *context, hone_tid id)
{
    store *s = context;
    const hone_tensor *t = hone_at(s->graph, id);
    if (t->base != HONE_NONE) return (char *)place(context, t->base) + t->offset_bytes;
    if (!s->place[id]) s->place[id] = calloc((size_t)hone_tensor_count(t) + 1, sizeof(float));
    FUZZ_HOLDS(s->place[id]);
    return s->place[id];
}

static void ask_all(const hone_gguf *file)
{
    for (int64_t i = 0; i < file->n_value; i++) {
        const char *name = file->value[i].name;
        const hone_gguf_value *array;
        int64_t whole;
        double real;
        bool flag;
        char *text = NULL;
        (void)(hone_gguf_int(file, name, true, &whole) && hone_gguf_real(file, name, true, &real) && hone_gguf_bool(file, name, true, &flag));
        if (!hone_gguf_text(file, name, true, &text)) hone_free(text);
        if (!hone_gguf_array(file, name, true, HONE_GGUF_F32, &array) && array->count) (void)hone_gguf_f32_at(array, array->count - 1);
        if (!hone_gguf_array(file, name, true, HONE_GGUF_I32, &array) && array->count) (void)hone_gguf_i32_at(array, array->count - 1);
    }
    for (int64_t i = 0; i < file->n_tensor; i++) FUZZ_HOLDS(hone_gguf_find_tensor(file, file->tensor[i].name));
}

static void load_weights(const char *path)
{
    hone_config config;
    hone_model model;
    if (hone_gguf_read_config(&config, path) || config.layers > 16 || config.width > 256 || config.vocab > 1024 || config.mlp_width > 1024 ||
        config.heads * config.head_dim > 1024 || config.max_positions > 4096) return;
    store s = { .graph = hone_graph_new() };
    FUZZ_HOLDS(s.graph && !hone_model_declare(&model, s.graph, &config) && (s.place = calloc((size_t)s.graph->n_tensor, sizeof *s.place)));
    if (hone_model_count(&model) <= MOST_ELEMENTS && !hone_gguf_load(&model, path, place, &s)) {
        char again[128];
        double off;
        const hone_gguf_kind *f32 = hone_gguf_kind_find("f32");
        snprintf(again, sizeof again, "%s/again.gguf", fuzz_folder());
        bool same = !hone_gguf_save(&model, again, "fuzz", f32, NULL, NULL, place, &s) && !hone_gguf_compare(&model, again, f32, place, &s, &off);
        FUZZ_HOLDS(!same || off == 0);
    }
    for (int32_t i = 0; i < s.graph->n_tensor; i++) free(s.place[i]);
    free(s.place);
    hone_model_release(&model);
    hone_graph_free(s.graph);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] = " Hello  ab\xc3\xa9 1234's\r\n<s>\xff ";
    char path[128];
    hone_gguf file;
    hone_tokenizer *tokenizer;
    fuzz_file("one.gguf", data, size);
    snprintf(path, sizeof path, "%s/one.gguf", fuzz_folder());
    hone_error_clear();
    if (hone_gguf_open(&file, path)) {
        FUZZ_HOLDS(*hone_error());
        return 0;
    }
    ask_all(&file);
    hone_gguf_close(&file);
    if (!hone_tokenizer_load(path, &tokenizer)) {
        use_tokenizer(tokenizer, text, sizeof text - 1);
        hone_tokenizer_free(tokenizer);
    }
    load_weights(path);
    return 0;
}
