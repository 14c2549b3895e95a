// dataset.c: a folder of shards, or a raw file, seen as one row of tokens.
#include "data/dataset.h"
#include "base/json.h"

#include <inttypes.h>
#include <string.h>

const char *const hone_split_name[HONE_SPLIT_COUNT] = { "train", "held" };

bool hone_dataset_is_raw(const char *path)
{
    size_t length = strlen(path);
    return length > 4 && (strcmp(path + length - 4, ".u16") == 0 || strcmp(path + length - 4, ".u32") == 0);
}

static hone_status open_named(const hone_dataset *dataset, const char *name, const char *where, int64_t limit, hone_shard *shard)
{
    if (strchr(name, '/')) return hone_fail("%s: shard file \"%s\" must be a plain name in the same folder", where, name);
    char *path = hone_path_join(dataset->path, name);
    hone_status status = path ? hone_shard_open(shard, path, limit) : HONE_FAILED;
    hone_free(path);
    return status;
}

// The column of trained tokens beside the shard opened last.
static hone_status open_trained(hone_dataset *dataset, const json_t *row, const char *where, size_t n_shards)
{
    const char *name = NULL;
    hone_status status = hone_json_text(row, "trained", where, false, &name);
    const hone_shard *ids = &dataset->shard[dataset->n_shards - 1];
    if (status || (!name && !dataset->trained && dataset->n_shards == 1)) return status;
    if (!name || (!dataset->trained && dataset->n_shards > 1)) return hone_fail("%s: some shards say which tokens are trained, others do not; prepare the data again", where);
    if (!dataset->trained && !(dataset->trained = hone_alloc(n_shards, sizeof *dataset->trained))) return HONE_FAILED;
    hone_shard *shard = &dataset->trained[dataset->n_shards - 1];
    if ((status = open_named(dataset, name, where, HONE_TRAINED_VALUES, shard))) return status;
    if (shard->n_tokens != ids->n_tokens || shard->n_documents != ids->n_documents || shard->tokenizer != ids->tokenizer)
        return hone_fail("%s: %" PRId64 " tokens, but %s has %" PRId64 "; it is of another data set", shard->path, shard->n_tokens, ids->path, ids->n_tokens);
    return HONE_OK;
}

// Opens one shard named in data.json and compares it with what stands there.
static hone_status open_shard(hone_dataset *dataset, const json_t *row, const char *where, int64_t limit)
{
    const char *name = NULL;
    int64_t tokens = 0, documents = 0;
    hone_status status = hone_json_text(row, "file", where, true, &name);
    if (!status) status = hone_json_int(row, "tokens", where, true, &tokens);
    if (!status) status = hone_json_int(row, "documents", where, true, &documents);
    if (status) return status;
    hone_shard *shard = &dataset->shard[dataset->n_shards];
    if ((status = open_named(dataset, name, where, limit, shard))) return status;
    dataset->n_shards++;
    if (shard->n_tokens != tokens || shard->n_documents != documents)
        return hone_fail("%s: %" PRId64 " tokens in %" PRId64 " documents, but %s says %" PRId64 " in %" PRId64
                         "; the shard is of another data set", shard->path, shard->n_tokens, shard->n_documents, where, tokens, documents);
    if (shard->tokenizer != dataset->tokenizer || shard->vocab != dataset->vocab)
        return hone_fail("%s: made with tokenizer %016" PRIx64 ", but %s says %016" PRIx64 "; the shard is of another data set",
                         shard->path, shard->tokenizer, where, dataset->tokenizer);
    return HONE_OK;
}

static hone_status read_identity(hone_dataset *dataset, const json_t *json, const char *where)
{
    int64_t version = 0;
    const char *tokenizer = NULL;
    hone_status status = hone_json_int(json, "version", where, true, &version);
    if (!status && version != HONE_DATASET_VERSION)
        status = hone_fail("%s: data set version %" PRId64 ", this program reads version %d; prepare the data again", where, version, HONE_DATASET_VERSION);
    if (!status) status = hone_json_text(json, "tokenizer", where, true, &tokenizer);
    if (!status) status = hone_json_int(json, "vocab", where, true, &dataset->vocab);
    if (!status) status = hone_json_int(json, "eos", where, true, &dataset->eos);
    if (status) return status;
    char *rest = NULL;
    dataset->tokenizer = strtoull(tokenizer, &rest, 16);
    if (strlen(tokenizer) != 16 || *rest) return hone_fail("%s: tokenizer \"%s\" is no hash of 16 hexadecimal digits", where, tokenizer);
    if (dataset->vocab < 1) return hone_fail("%s: vocab %" PRId64 " must be positive", where, dataset->vocab);
    return HONE_OK;
}

static hone_status open_folder(hone_dataset *dataset, int64_t vocab, uint64_t tokenizer)
{
    const char *split = hone_split_name[dataset->split];
    json_t *json = NULL;
    char *where = hone_path_join(dataset->path, "data.json");
    if (!where) return HONE_FAILED;
    hone_status status;
    if (!hone_file_exists(where)) {
        status = hone_fail("%s: no data set there (%s is missing); make one with `hone prepare`, or give a raw .u16 or .u32 token file",
                           dataset->path, where);
        goto out;
    }
    status = hone_json_load(where, &json);
    if (!status) status = read_identity(dataset, json, where);
    if (status) goto out;
    if (tokenizer && tokenizer != dataset->tokenizer) {
        status = hone_fail("%s: made with tokenizer %016" PRIx64 ", but the model's is %016" PRIx64 "; prepare the text again with the model's tokenizer",
                           dataset->path, dataset->tokenizer, tokenizer);
        goto out;
    }
    if (dataset->vocab > vocab) {
        status = hone_fail("%s: its tokenizer has %" PRId64 " ids, but the model's vocabulary only %" PRId64
                           "; prepare the text again with the model's tokenizer", dataset->path, dataset->vocab, vocab);
        goto out;
    }
    dataset->pairs = json_is_true(json_object_get(json, "pairs"));
    json_t *part = json_object_get(json, split), *shards = json_object_get(part, "shards"), *row;
    if (!json_is_array(shards)) {
        status = hone_fail("%s: %s.shards is missing or no list", where, split);
        goto out;
    }
    dataset->shard = hone_alloc(json_array_size(shards) + 1, sizeof *dataset->shard);
    if (!dataset->shard) { status = HONE_FAILED; goto out; }
    size_t i;
    json_array_foreach(shards, i, row) {
        status = open_shard(dataset, row, where, dataset->vocab);
        if (!status && (dataset->trained || i == 0 || json_object_get(row, "trained"))) status = open_trained(dataset, row, where, json_array_size(shards));
        if (status) goto out;
    }
out:
    json_decref(json);
    hone_free(where);
    return status;
}

static hone_status open_raw(hone_dataset *dataset, int64_t vocab, int64_t eos)
{
    if (dataset->split != HONE_SPLIT_TRAIN)
        return hone_fail("%s: a raw token file has no held-out part; name another file for evaluation, or use `hone prepare --held-out`", dataset->path);
    dataset->raw = true;
    dataset->eos = eos;
    dataset->shard = hone_alloc(1, sizeof *dataset->shard);
    if (!dataset->shard) return HONE_FAILED;
    hone_status status = hone_shard_open_raw(dataset->shard, dataset->path, vocab);
    if (!status) dataset->n_shards = 1;
    return status;
}

hone_status hone_dataset_open(hone_dataset *dataset, const char *path, hone_split split, int64_t vocab, uint64_t tokenizer, int64_t eos)
{
    *dataset = (hone_dataset){ .split = split, .eos = -1 };
    dataset->path = hone_strdup(path);
    if (!dataset->path) return HONE_FAILED;
    hone_status status = hone_dataset_is_raw(path) ? open_raw(dataset, vocab, eos) : open_folder(dataset, vocab, tokenizer);
    if (status) goto out;
    dataset->first = hone_alloc((size_t)dataset->n_shards + 1, sizeof *dataset->first);
    if (!dataset->first) { status = HONE_FAILED; goto out; }
    for (int64_t s = 0; s < dataset->n_shards; s++) {
        dataset->first[s + 1] = dataset->first[s] + dataset->shard[s].n_tokens;
        dataset->n_documents += dataset->shard[s].n_documents;
        dataset->n_bytes += dataset->shard[s].n_bytes;
    }
    dataset->n_tokens = dataset->first[dataset->n_shards];
    if (dataset->n_tokens == 0)
        status = hone_fail("%s: its split \"%s\" has no tokens; prepare more text%s", path, hone_split_name[split],
                           split == HONE_SPLIT_HELD ? " or a larger --held-out" : "");
out:
    if (status) hone_dataset_close(dataset);
    return status;
}

void hone_dataset_close(hone_dataset *dataset)
{
    for (int64_t s = 0; s < dataset->n_shards; s++) hone_shard_close(&dataset->shard[s]);
    for (int64_t s = 0; dataset->trained && s < dataset->n_shards; s++) hone_shard_close(&dataset->trained[s]);
    hone_free(dataset->shard);
    hone_free(dataset->trained);
    hone_free(dataset->first);
    hone_free(dataset->path);
    *dataset = (hone_dataset){ 0 };
}

hone_status hone_dataset_has_split(const char *path, hone_split split, bool *has)
{
    *has = split == HONE_SPLIT_TRAIN;
    if (hone_dataset_is_raw(path)) return HONE_OK;
    char *where = hone_path_join(path, "data.json");
    if (!where) return HONE_FAILED;
    json_t *json = NULL;
    int64_t tokens = 0;
    hone_status status = hone_json_load(where, &json);
    if (!status) status = hone_json_int(json_object_get(json, hone_split_name[split]), "tokens", where, true, &tokens);
    *has = tokens > 0;
    json_decref(json);
    hone_free(where);
    return status;
}

static int64_t find_shard(const hone_dataset *dataset, int64_t position)
{
    int64_t low = 0, high = dataset->n_shards - 1; // first[low] <= position; empty shards are passed over
    while (low < high) {
        int64_t middle = (low + high + 1) / 2;
        if (dataset->first[middle] <= position) low = middle;
        else high = middle - 1;
    }
    return low;
}

static hone_status read_files(const hone_dataset *dataset, hone_shard *file, int64_t position, int64_t count, int32_t *out)
{
    for (int64_t s = find_shard(dataset, position); count > 0; s++) {
        int64_t take = dataset->first[s + 1] - position < count ? dataset->first[s + 1] - position : count;
        hone_status status = hone_shard_read(&file[s], position - dataset->first[s], take, out);
        if (status) return status;
        position += take;
        count -= take;
        out += take;
    }
    return HONE_OK;
}

hone_status hone_dataset_read(hone_dataset *dataset, int64_t position, int64_t count, int32_t *out)
{
    HONE_ASSERT(position >= 0 && position + count <= dataset->n_tokens, "tokens %" PRId64 "+%" PRId64 " of %" PRId64, position, count, dataset->n_tokens);
    enum { INDEX_EVERY = 4096 }; // what looking documents up made resident of the index is let go now and then
    if (++dataset->reads % INDEX_EVERY == 0)
        for (int64_t s = 0; s < dataset->n_shards; s++) hone_map_drop(&dataset->shard[s].map);
    return read_files(dataset, dataset->shard, position, count, out);
}

hone_status hone_dataset_read_trained(hone_dataset *dataset, int64_t position, int64_t count, int32_t *out)
{
    HONE_ASSERT(dataset->trained && position >= 0 && position + count <= dataset->n_tokens, "tokens %" PRId64 "+%" PRId64 " of %" PRId64, position, count, dataset->n_tokens);
    return read_files(dataset, dataset->trained, position, count, out);
}

// The first document of a shard that ends behind `inside`.
static int64_t find_document(const hone_shard *shard, int64_t inside)
{
    int64_t low = 0, high = shard->n_documents;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if ((int64_t)shard->ends[middle] > inside) high = middle;
        else low = middle + 1;
    }
    return low;
}

int64_t hone_dataset_source(const hone_dataset *dataset, int64_t position)
{
    int64_t s = find_shard(dataset, position);
    HONE_ASSERT(!dataset->raw, "%s has no index of documents", dataset->path);
    return dataset->shard[s].source[find_document(&dataset->shard[s], position - dataset->first[s])];
}

int64_t hone_dataset_document(const hone_dataset *dataset, int64_t position)
{
    const int64_t s = find_shard(dataset, position);
    int64_t before = 0;
    HONE_ASSERT(!dataset->raw, "%s has no index of documents", dataset->path);
    for (int64_t i = 0; i < s; i++) before += dataset->shard[i].n_documents;
    return before + find_document(&dataset->shard[s], position - dataset->first[s]);
}

int64_t hone_dataset_ends(const hone_dataset *dataset, int64_t position, int64_t count, int64_t *ends)
{
    HONE_ASSERT(!dataset->raw, "%s has no index of documents", dataset->path);
    int64_t found = 0, stop = position + count;
    for (int64_t s = find_shard(dataset, position); s < dataset->n_shards; s++) {
        const hone_shard *shard = &dataset->shard[s];
        int64_t low = find_document(shard, position > dataset->first[s] ? position - dataset->first[s] : 0);
        for (; low < shard->n_documents; low++) {
            ends[found] = dataset->first[s] + (int64_t)shard->ends[low];
            if (ends[found++] >= stop) return found;
        }
    }
    return found;
}

hone_status hone_dataset_verify(hone_dataset *dataset)
{
    for (int64_t s = 0; s < dataset->n_shards; s++) {
        hone_status status = hone_shard_verify(&dataset->shard[s]);
        if (!status && dataset->trained) status = hone_shard_verify(&dataset->trained[s]);
        if (status) return status;
    }
    return HONE_OK;
}
