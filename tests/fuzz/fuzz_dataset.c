// A data set's folder: whatever data.json holds beside two true shards, it opens and can be read, or is refused in words; and
// the same for the journal that `hone prepare` goes on from.
//
//     byte 0 even   data.json        odd   journal.json
#include "fuzz/pieces.h"
#include "data/pipeline.h"
#include "text/parts.h"

static const char tokenizer_json[] = "{\"added_tokens\": [{\"id\": 2, \"content\": \"<e>\", \"special\": true}], \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"<e>\": 2}, \"merges\": []}}";
static char set_path[128], text_path[128];
static hone_recipe recipe;
static hone_tokenizer *tokenizer;
enum { VOCAB = 3, EOS = 2, TOKENIZER = 0x1234 };

// DIR/set.tmp with a shard of each split, as a run that was killed leaves it, and DIR/set, a data set.
static void make_sets(void)
{
    static char filters[] = "filters=[exact_duplicates, near_duplicates]";
    static char *override[] = { filters };
    const int32_t ids[] = { 0, 1, 0, EOS };
    hone_dataset_writer writer;
    snprintf(set_path, sizeof set_path, "%s/set", fuzz_folder());
    snprintf(text_path, sizeof text_path, "%s/text.txt", fuzz_folder());
    fuzz_file("text.txt", "ab\n", 3);
    FUZZ_HOLDS(hone_tokenizer_parse("built in", tokenizer_json, sizeof tokenizer_json - 1, &tokenizer) == HONE_OK);
    FUZZ_HOLDS(hone_recipe_load(&recipe, NULL, 1, override) == HONE_OK);
    for (int finished = 1; finished >= 0; finished--) {
        char *other = hone_format("%s%s", set_path, finished ? "" : "2");
        FUZZ_HOLDS(hone_dataset_writer_open(&writer, other, VOCAB, TOKENIZER, EOS, 0, NULL) == HONE_OK);
        for (hone_split s = 0; s < HONE_SPLIT_COUNT; s++) FUZZ_HOLDS(hone_dataset_writer_add(&writer, s, ids, 4, 3, 0) == HONE_OK);
        FUZZ_HOLDS(hone_dataset_writer_flush(&writer) == HONE_OK);
        if (finished) FUZZ_HOLDS(hone_dataset_writer_finish(&writer, NULL) == HONE_OK);
        else hone_dataset_writer_keep(&writer);
        hone_free(other);
    }
    fuzz_file("set2.tmp/keys-00000.bin", "", 0);
}

static void read_dataset(fuzz_piece json)
{
    fuzz_file("set/data.json", json.data, json.size);
    for (hone_split s = 0; s < HONE_SPLIT_COUNT; s++) {
        hone_dataset dataset;
        bool has = false;
        if (hone_dataset_has_split(set_path, s, &has)) FUZZ_HOLDS(*hone_error());
        if (hone_dataset_open(&dataset, set_path, s, VOCAB, 0, -1)) {
            FUZZ_HOLDS(*hone_error());
            continue;
        }
        int32_t ids[4];
        int64_t ends[5];
        for (int64_t at = 0; at + 4 <= dataset.n_tokens; at += 4)
            FUZZ_HOLDS(hone_dataset_read(&dataset, at, 4, ids) == HONE_OK && ids[3] == EOS && hone_dataset_ends(&dataset, at, 4, ends) == 1 && hone_dataset_source(&dataset, at) == 0);
        FUZZ_HOLDS(hone_dataset_verify(&dataset) == HONE_OK);
        hone_dataset_close(&dataset);
    }
}

static void go_on(fuzz_piece text)
{
    const char *operand = text_path;
    char output[sizeof set_path + 1];
    json_t *json;
    if (hone_json_parse("journal.json", (const char *)text.data, text.size, &json)) return;
    snprintf(output, sizeof output, "%s2", set_path);
    const hone_prepare_options options = { .output = output, .recipe = &recipe, .text_field = "text" };
    hone_prepare_report report = { .vocab = VOCAB };
    hone_pipeline p = { .options = &options, .report = &report, .eos = EOS, .key_files = json_array(), .tokenizer = tokenizer };
    FUZZ_HOLDS(hone_inputs_open(&p.inputs, &operand, 1, NULL) == HONE_OK && hone_template_field(&p.fields, "text") == HONE_OK && hone_cleaning_open(&p.cleaning, &recipe) == HONE_OK);
    p.document_options = (hone_document_options){ .inputs = &p.inputs, .fields = &p.fields };
    if (hone_journal_resume(&p, json)) FUZZ_HOLDS(*hone_error());
    else {
        json_t *again = NULL;
        FUZZ_HOLDS(hone_cleaning_report(&p.cleaning, &again) == HONE_OK);
        json_decref(again);
        hone_lane *lane = &p.lane[0];
        if (hone_document_reader_next(&p.reader, &lane->batch, 100)) FUZZ_HOLDS(*hone_error());
    }
    if (p.writer.path) hone_dataset_writer_keep(&p.writer);
    p.tokenizer = NULL; // kept
    hone_pipeline_release(&p);
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    if (!tokenizer) make_sets();
    hone_error_clear();
    if (data[0] & 1) go_on((fuzz_piece){ data + 1, size - 1 });
    else read_dataset((fuzz_piece){ data + 1, size - 1 });
    return 0;
}
