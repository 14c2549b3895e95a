// checkpoint_writer.c: the thread that saves while training goes on.
//
//     idle --start--> reading --all bytes with the kernel--> flushing --published or removed--> idle
//
// `phase` and the outcome are guarded by one mutex; everything else of a save belongs to the thread while phase is not
// idle. Whatever fails, the temporary folder goes and the message waits for the training's thread to take it.
#include "io/checkpoint.h"
#include "base/cpu.h"
#include "base/memory.h"
#include "base/thread.h"
#include "io/peft.h"
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Scratch and direct share one huge page: a write from it is one piece of memory for the kernel, not 256.
enum { SCRATCH_BYTES = 1 << 20, DIRECT_BYTES = 1 << 20, STACK_BYTES = 256 << 10 };
typedef enum { IDLE, READING, FLUSHING } save_phase;

struct hone_checkpoint_writer {
    hone_checkpoint_options options;
    char *folder, *tokenizer;        // copies of the options' paths
    hone_hf_map map;
    hone_checkpoint_moment *moment; int64_t n_moment;
    hone_safetensor_spec *spec;      // (n_moment,)
    uint8_t *scratch, *direct;       // (SCRATCH_BYTES,), and behind it (DIRECT_BYTES,)
    atomic_bool hurry;               // training waits for the reading to end
    hone_checkpoint_state state;     // of the save under way; owned

    pthread_t thread; bool has_thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    save_phase phase;
    bool quit, failed, has_report;
    bool replay;                     // of the save under way: into replay-N
    char message[1024];
    double began_s, began_cpu_s;
    hone_checkpoint_report report;
};

size_t hone_checkpoint_buffer_bytes(void) { return SCRATCH_BYTES + DIRECT_BYTES + STACK_BYTES; }

// The save itself -----------------------------------------------------------------------------------------------------

static const void *moment_source(void *writer_pointer, int64_t index, int64_t first, int64_t count, void *scratch)
{
    hone_checkpoint_writer *w = writer_pointer;
    const hone_tid id = w->moment[index].id;
    const size_t bytes = hone_dtype_bytes(w->spec[index].dtype);
    const uint8_t *data = w->options.data(w->options.context, id);
    if (data) return data + (size_t)first * bytes;
    return w->options.carry(w->options.context, id, (size_t)first * bytes, (size_t)count * bytes, scratch, false) ? NULL : scratch;
}

static hone_status note_file(json_t *files, const char *name, int64_t size, uint64_t hash)
{
    char text[17];
    snprintf(text, sizeof text, "%016" PRIx64, hash);
    json_t *about = json_object();
    int bad = json_object_set_new(about, "size", json_integer(size)) | json_object_set_new(about, "xxh3", json_string(text));
    return bad | json_object_set_new(files, name, about) ? hone_fail("%s: out of memory", name) : HONE_OK;
}

static void set_phase(hone_checkpoint_writer *w, save_phase phase)
{
    pthread_mutex_lock(&w->lock);
    w->phase = phase;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

// Hands all weights and moments to the kernel, lets the training go on, then waits for the disk.
static hone_status write_state_of_model(hone_checkpoint_writer *w, const char *folder, json_t *files)
{
    hone_writer weights, moments;
    bool weights_open = false, moments_open = false;
    hone_status status = HONE_FAILED;
    const hone_model *model = w->options.model;
    const char *name = model->lora.rank ? "adapter_model.safetensors" : "model.safetensors";
    char *weights_path = hone_path_join(folder, name), *moments_path = hone_path_join(folder, "optimizer.safetensors");
    if (!weights_path || !moments_path) goto out;
    if ((status = hone_writer_open_direct(&weights, weights_path, w->direct, DIRECT_BYTES, &w->hurry))) goto out;
    weights_open = true;
    if (w->n_moment) {
        if ((status = hone_writer_open_direct(&moments, moments_path, w->direct, DIRECT_BYTES, &w->hurry))) goto out;
        moments_open = true;
    }
    status = model->lora.rank ? hone_peft_write_factors(model, &weights, w->options.data, w->options.context)
                              : hone_hf_write_weights(&w->map, &weights, w->options.data, w->options.carry, w->options.context, w->scratch, SCRATCH_BYTES);
    if (status) goto out;
    if ((status = hone_writer_flush(&weights))) goto out;   // the two take turns with the buffer
    if (moments_open && (status = hone_safetensors_write(&moments, w->spec, w->n_moment, moment_source, w, w->scratch, SCRATCH_BYTES))) goto out;
    if (moments_open && (status = hone_writer_flush(&moments))) goto out;
    w->report.read_s = hone_clock_s() - w->began_s;
    set_phase(w, FLUSHING);
    weights_open = false;
    if ((status = hone_writer_commit(&weights)) || (status = note_file(files, name, weights.written_bytes, weights.hash))) goto out;
    if (!moments_open) goto out;
    moments_open = false;
    if (!(status = hone_writer_commit(&moments))) status = note_file(files, "optimizer.safetensors", moments.written_bytes, moments.hash);
out:
    if (weights_open) hone_writer_abort(&weights);
    if (moments_open) hone_writer_abort(&moments);
    hone_free(weights_path);
    hone_free(moments_path);
    return status;
}

static void free_names(char **names, int64_t count)
{
    for (int64_t i = 0; i < count; i++) hone_free(names[i]);
    hone_free(names);
}

// Every file of the folder that is not noted yet.
static hone_status note_small_files(const char *folder, json_t *files)
{
    char **names;
    int64_t count;
    hone_status status = hone_dir_list(folder, &names, &count);
    if (status) return status;
    for (int64_t i = 0; i < count && !status; i++) {
        if (json_object_get(files, names[i])) continue;
        char *path = hone_path_join(folder, names[i]);
        hone_map map;
        uint64_t hash;
        status = path ? hone_map_open(&map, path) : HONE_FAILED;
        if (!status) {
            int64_t size = (int64_t)map.size;
            hone_map_close(&map);
            if (!(status = hone_file_hash(path, &hash))) status = note_file(files, names[i], size, hash);
        }
        hone_free(path);
    }
    free_names(names, count);
    return status;
}

static int64_t total_bytes(json_t *files)
{
    const char *name;
    json_t *about;
    int64_t bytes = 0;
    json_object_foreach(files, name, about) bytes += json_integer_value(json_object_get(about, "size"));
    return bytes;
}

static hone_status save(hone_checkpoint_writer *w, const char *temporary, const char *final_path, int64_t *bytes)
{
    json_t *files = json_object();
    hone_status status = files ? hone_dir_remove(temporary) : hone_fail("out of memory");
    if (!status) status = hone_dir_create(temporary);
    if (!status) status = write_state_of_model(w, temporary, files);
    if (!status) status = w->options.model->lora.rank ? hone_peft_save_about(w->options.model, temporary)
                                                      : hone_hf_save_about(w->options.model, temporary, &w->options.tokenizer);
    if (!status) status = note_small_files(temporary, files);
    if (!status) status = hone_checkpoint_write_state(temporary, &w->state, files);
    if (!status) status = hone_checkpoint_publish(temporary, final_path);
    *bytes = total_bytes(files);
    json_decref(files);
    return status;
}

static hone_status drop_others(hone_checkpoint_writer *w)
{
    if (w->replay) return hone_checkpoint_drop_replays(w->folder);
    return hone_checkpoint_drop_old(w->folder, w->options.save_total_limit, w->options.keep_best, w->state.step);
}

static void run_save(hone_checkpoint_writer *w)
{
    w->began_s = hone_clock_s();
    w->began_cpu_s = hone_thread_cpu_s();
    int64_t bytes = 0, step = w->state.step;
    char *final_path = w->replay ? hone_format("%s/replay-%" PRId64, w->folder, step + 1) : hone_format("%s/step-%" PRId64, w->folder, step);
    char *temporary = final_path ? hone_format("%s.tmp", final_path) : NULL;
    hone_status status = temporary ? save(w, temporary, final_path, &bytes) : HONE_FAILED;
    char message[sizeof w->message] = "";
    if (status) {
        snprintf(message, sizeof message, "checkpoint of step %" PRId64 " was not saved: %s", step, hone_error());
        if (temporary) hone_dir_remove(temporary);   // its own failure adds nothing: the folder is never read
    } else if (drop_others(w)) {
        hone_warn("step %" PRId64 " is saved, but older checkpoints could not be removed: %s", step, hone_error());
    }
    hone_free(final_path);
    hone_free(temporary);
    pthread_mutex_lock(&w->lock);
    w->phase = IDLE;
    w->failed = status != HONE_OK;
    memcpy(w->message, message, sizeof message);
    w->has_report = !w->failed;
    w->report.step = step;
    w->report.replay = w->replay;
    w->report.cpu_s = hone_thread_cpu_s() - w->began_cpu_s;
    w->report.bytes = bytes;
    w->report.total_s = hone_clock_s() - w->began_s;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

static void *thread_main(void *writer_pointer)
{
    hone_checkpoint_writer *w = writer_pointer;
    for (;;) {
        pthread_mutex_lock(&w->lock);
        while (w->phase == IDLE && !w->quit) pthread_cond_wait(&w->changed, &w->lock);
        bool quit = w->phase == IDLE && w->quit;
        pthread_mutex_unlock(&w->lock);
        if (quit) return NULL;
        run_save(w);
    }
}

// The training's side -------------------------------------------------------------------------------------------------

// A run must not train for an hour to learn that it may not write.
static hone_status probe(const char *folder)
{
    char *path = hone_path_join(folder, "step-probe.tmp");
    hone_status status = path ? hone_dir_create(path) : HONE_FAILED;
    if (!status) status = hone_dir_remove(path);
    hone_free(path);
    return status;
}

static hone_status build_specs(hone_checkpoint_writer *w)
{
    const hone_model *model = w->options.model;
    hone_status status = hone_hf_map_build(&w->map, model);
    if (!status) status = hone_checkpoint_list_moments(model, &w->moment, &w->n_moment);
    if (status) return status;
    w->spec = hone_alloc((size_t)w->n_moment + 1, sizeof *w->spec);
    if (!w->spec) return HONE_FAILED;
    for (int64_t i = 0; i < w->n_moment; i++) {
        const hone_tensor *t = hone_at(model->graph, w->moment[i].id);
        w->spec[i] = (hone_safetensor_spec){ .name = w->moment[i].name, .dtype = t->dtype, .rank = t->rank };
        memcpy(w->spec[i].dim, t->dim, sizeof w->spec[i].dim);
    }
    return HONE_OK;
}

static hone_status start_thread(hone_checkpoint_writer *w)
{
    hone_status status = hone_thread_start(&w->thread, STACK_BYTES, thread_main, w, "writes checkpoints");
    w->has_thread = !status;
    if (status) hone_fail_context("%s", w->folder);
    return status;
}

hone_status hone_checkpoint_open(hone_checkpoint_writer **writer, const hone_checkpoint_options *options)
{
    hone_checkpoint_writer *w = *writer = hone_alloc(1, sizeof *w);
    if (!w) return HONE_FAILED;
    hone_status status = HONE_FAILED;
    w->options = *options;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    if ((w->folder = hone_strdup(options->folder)) && (!options->tokenizer.path || (w->tokenizer = hone_strdup(options->tokenizer.path))) &&
        (w->scratch = hone_pages_alloc(SCRATCH_BYTES + DIRECT_BYTES))) status = HONE_OK;
    if (!status) w->direct = w->scratch + SCRATCH_BYTES;
    w->options.tokenizer.path = w->tokenizer;
    if (!status) status = hone_hf_check_tokenizer(&w->options.tokenizer);
    if (!status) status = hone_dir_create(w->folder);
    if (!status) status = hone_checkpoint_repair_folder(w->folder);
    if (!status) status = probe(w->folder);
    if (!status) status = build_specs(w);
    if (!status) status = start_thread(w);
    if (status) {
        hone_checkpoint_close(w);
        *writer = NULL;
    }
    return status;
}

// May what is left to read go through the page cache? Where a container's limit leaves no room for it, its dirty pages would end
// the process.
static bool has_room(const hone_checkpoint_writer *w)
{
    int64_t bytes = 0;
    const hone_model *model = w->options.model;
    if (model->lora.rank) bytes = hone_lora_count(model) * (int64_t)sizeof(float);
    else for (int64_t i = 0; i < model->n_param; i++) bytes += hone_tensor_count(hone_at(model->graph, model->param[i])) * (int64_t)sizeof(float);
    for (int64_t i = 0; i < w->n_moment; i++) bytes += hone_tensor_bytes(hone_at(model->graph, w->moment[i].id));
    return bytes < hone_memory_available_bytes();
}

// Waits while the phase is one of the two, and takes the outcome of a save that has failed.
static hone_status wait_while(hone_checkpoint_writer *w, save_phase a, save_phase b, double *stalled_s)
{
    hone_status status = HONE_OK;
    pthread_mutex_lock(&w->lock);
    if (w->phase == a || w->phase == b) {
        double began = hone_clock_s();
        atomic_store(&w->hurry, has_room(w));
        while (w->phase == a || w->phase == b) pthread_cond_wait(&w->changed, &w->lock);
        if (stalled_s) *stalled_s += hone_clock_s() - began;
    }
    if (w->failed) status = hone_fail("%s", w->message);
    w->failed = false;
    pthread_mutex_unlock(&w->lock);
    return status;
}

hone_status hone_checkpoint_wait(hone_checkpoint_writer *writer, double *stalled_s) { return wait_while(writer, READING, READING, stalled_s); }
hone_status hone_checkpoint_finish(hone_checkpoint_writer *writer, double *stalled_s) { return wait_while(writer, READING, FLUSHING, stalled_s); }

static hone_status copy_state(hone_checkpoint_state *to, const hone_checkpoint_state *from)
{
    hone_checkpoint_state_release(to);
    *to = *from;
    to->n_source = to->n_recent = 0;
    to->recent = hone_alloc((size_t)from->n_recent + 1, sizeof *to->recent);
    to->recipe = hone_strdup(from->recipe ? from->recipe : "");
    to->source = hone_alloc((size_t)from->n_source + 1, sizeof *to->source);
    if (!to->recipe || !to->source || !to->recent) return HONE_FAILED;
    for (; to->n_recent < from->n_recent; to->n_recent++) to->recent[to->n_recent] = from->recent[to->n_recent];
    for (int64_t i = 0; i < from->n_source; i++) {
        if (!(to->source[i].source = hone_strdup(from->source[i].source))) return HONE_FAILED;
        to->source[i].tokens = from->source[i].tokens;
        to->n_source++;
    }
    return HONE_OK;
}

static hone_status start(hone_checkpoint_writer *w, const hone_checkpoint_state *state, bool replay)
{
    hone_status status = hone_checkpoint_finish(w, NULL);
    if (!status) status = copy_state(&w->state, state);
    if (status) return status;
    w->replay = replay;
    atomic_store(&w->hurry, false);
    set_phase(w, READING);
    return HONE_OK;
}

hone_status hone_checkpoint_start(hone_checkpoint_writer *w, const hone_checkpoint_state *state) { return start(w, state, false); }
hone_status hone_checkpoint_start_replay(hone_checkpoint_writer *w, const hone_checkpoint_state *state) { return start(w, state, true); }

bool hone_checkpoint_take_report(hone_checkpoint_writer *w, hone_checkpoint_report *report)
{
    pthread_mutex_lock(&w->lock);
    bool has = w->has_report;
    if (has) *report = w->report;
    w->has_report = false;
    pthread_mutex_unlock(&w->lock);
    return has;
}

void hone_checkpoint_close(hone_checkpoint_writer *w)
{
    if (!w) return;
    if (w->has_thread) {
        pthread_mutex_lock(&w->lock);
        w->quit = true;   // after the save under way
        pthread_cond_broadcast(&w->changed);
        pthread_mutex_unlock(&w->lock);
        pthread_join(w->thread, NULL);
    }
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    hone_hf_map_release(&w->map);
    hone_checkpoint_free_moments(w->moment, w->n_moment);
    hone_checkpoint_state_release(&w->state);
    if (w->scratch) hone_pages_free(w->scratch, SCRATCH_BYTES + DIRECT_BYTES);
    hone_free(w->spec);
    hone_free(w->folder);
    hone_free(w->tokenizer);
    hone_free(w);
}
