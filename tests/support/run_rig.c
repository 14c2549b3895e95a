#include "support/run_rig.h"
#include "base/file.h"
#include "base/rng.h"
#include "support/cmocka_all.h"
#include <sys/statvfs.h>
#include <unistd.h>

static void write_tokens(const char *folder, const char *name, int64_t count, uint32_t stream)
{
    uint16_t *ids = hone_alloc((size_t)count, sizeof *ids);
    for (int64_t i = 0, left = 9; i < count; i++) {
        uint32_t bits[4];
        hone_rng_block(5, HONE_RNG_TEST, stream, (uint64_t)i, bits);
        ids[i] = (uint16_t)((i ? ids[i - 1] : 0) + 1 + bits[0] % 3) % RUN_RIG_VOCAB;
        if (ids[i] == RUN_RIG_EOS) ids[i]++;
        if (--left == 0) { ids[i] = RUN_RIG_EOS; left = 1 + bits[1] % 90; }
    }
    char *path = hone_path_join(folder, name);
    assert_int_equal(hone_file_write(path, ids, (size_t)count * sizeof *ids), HONE_OK);
    hone_free(path);
    hone_free(ids);
}

// In memory where there is room: saved and killed thousands of times, a run would else take as long as the disk's fsync.
static const char *root(void)
{
    struct statvfs room;
    return statvfs("/dev/shm", &room) == 0 && (uint64_t)room.f_bavail * room.f_frsize > 1 << 30 && access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
}

static char *make_folder(const char *under)
{
    char *folder = hone_format("%s/hone_run_XXXXXX", under);
    assert_non_null(mkdtemp(folder));
    assert_int_equal(setenv("XDG_CACHE_HOME", folder, 1), 0);
    write_tokens(folder, "train.u16", 6007, 1);
    write_tokens(folder, "held.u16", 1501, 2);
    return folder;
}

char *run_rig_folder(void) { return make_folder(root()); }
char *run_rig_folder_on_disk(void) { return make_folder("/tmp"); }

void run_rig_remove(char *folder)
{
    assert_int_equal(hone_dir_remove(folder), HONE_OK);
    hone_free(folder);
}

void run_rig_recipe(hone_recipe *recipe, const char *folder, const char *more)
{
    const char *named = strstr(more, "model_name_or_path: ");
    char *model = named && strncmp(named + strlen("model_name_or_path: "), "''", 2) != 0 ? hone_strdup("")
                : hone_format("model: {model_type: llama, vocab_size: %d, hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2,\n"
                              "        num_attention_heads: 4, num_key_value_heads: 2, tie_word_embeddings: true, pad_token_id: null}\n", RUN_RIG_VOCAB);
    char *text = hone_format("%sdataset: %s/train.u16\neval_dataset: %s/held.u16\noutput_dir: %s/out\ncutoff_len: 37\nlearning_rate: 1e-2\n%s",
                             model, folder, folder, folder, more);
    char *path = hone_path_join(folder, "recipe.yaml");
    assert_int_equal(hone_file_write(path, text, strlen(text)), HONE_OK);
    if (hone_recipe_load(recipe, path, 0, NULL) != HONE_OK) fail_msg("%s", hone_error());
    hone_free(path);
    hone_free(text);
    hone_free(model);
}

char *run_rig_recipe_file(const char *folder, const char *more)
{
    hone_recipe recipe;
    run_rig_recipe(&recipe, folder, more);
    hone_recipe_release(&recipe);
    return hone_path_join(folder, "recipe.yaml");
}

void run_rig_start(hone_job *job, const hone_recipe *recipe)
{
    if (hone_job_open(job, recipe) != HONE_OK) fail_msg("%s", hone_error());
    for (int64_t i = 0; i < job->train.n_sources; i++) job->train.source[i].loader.data.eos = RUN_RIG_EOS;
    for (int64_t i = 0; i < job->n_held; i++) job->held[i].loader.data.eos = RUN_RIG_EOS;
    if (hone_session_allocate(&job->session) != HONE_OK) fail_msg("%s", hone_error());
    hone_model_init(&job->model, (uint64_t)recipe->seed, hone_job_borrow, job);
}

void run_rig_open(run_rig *r, const char *folder, const char *more)
{
    run_rig_recipe(&r->recipe, folder, more);
    run_rig_start(&r->job, &r->recipe);
    hone_loop_open(&r->loop, &r->job);
}

void run_rig_close(run_rig *r)
{
    hone_job_close(&r->job);
    hone_recipe_release(&r->recipe);
}

uint64_t run_rig_hash(const hone_job *job)
{
    uint64_t hash = 0;
    for (hone_tid id = 0; id < job->graph->n_tensor; id++) {
        const hone_tensor *t = hone_at(job->graph, id);
        if (t->base != HONE_NONE || (t->cls != HONE_CLASS_param && t->cls != HONE_CLASS_moment)) continue;
        hash = hash * 1099511628211u + hone_hash64(hone_session_data(&job->session, id), (size_t)hone_tensor_count(t) * 4);
    }
    return hash;
}
