// test_checkpoint_crash.c: the power fails at every point of a save. Whatever the disk kept of what was not yet synced,
// there is a valid checkpoint afterwards: the old one or the new one, bit by bit.
//
// A save is recorded call by call (base/fault.h) and replayed on a model of a disk: a file has bytes of which a prefix is
// synced; a folder has names of which a snapshot is synced. After each call a power cut is tried in four ways:
//
//     lazy     synced names, synced bytes              eager    all names, synced bytes (names reach the disk first)
//     torn     all names, half of the unsynced bytes   whole    all names, all bytes
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/store.h"
#include "base/fault.h"
#include "base/memory.h"
#include "io/checkpoint.h"
#include <sys/stat.h>
#include <unistd.h>

// The recorder --------------------------------------------------------------------------------------------------------

typedef struct { hone_call call; char *path, *to; uint8_t *data; size_t size; } call_record;
enum { MAX_CALLS = 4000 };
static call_record calls[MAX_CALLS];
static int n_calls;

static bool record(hone_call call, const char *path, const char *to, const void *data, size_t size)
{
    if (call == HONE_CALL_ALLOC || call == HONE_CALL_READ) return false;
    if (n_calls == MAX_CALLS) abort();
    call_record *c = &calls[n_calls++];
    *c = (call_record){ call, strdup(path), to ? strdup(to) : NULL, NULL, size };
    if (data && size) memcpy(c->data = malloc(size), data, size);
    return false;
}

// The disk ------------------------------------------------------------------------------------------------------------

enum { MAX_NAMES = 24 };
typedef struct node node;
typedef struct { char name[64]; node *node; } entry;
struct node {
    bool folder;
    uint8_t *data; size_t size, synced;
    entry now[MAX_NAMES], kept[MAX_NAMES]; int n_now, n_kept;
};
static node nodes[400];
static int n_nodes;
static bool forget_file_syncs;   // the control: a disk that lies

static node *new_node(bool folder)
{
    assert_true(n_nodes < 400);
    nodes[n_nodes] = (node){ .folder = folder };
    return &nodes[n_nodes++];
}

static void wipe(void)
{
    for (int i = 0; i < n_nodes; i++) free(nodes[i].data);
    n_nodes = 0;
}

static int find(const node *folder, const char *name)
{
    for (int i = 0; i < folder->n_now; i++)
        if (strcmp(folder->now[i].name, name) == 0) return i;
    return -1;
}

static void add(node *folder, const char *name, node *what)
{
    int i = find(folder, name);
    assert_true(folder->n_now < MAX_NAMES);
    if (i < 0) i = folder->n_now++;
    snprintf(folder->now[i].name, sizeof folder->now[i].name, "%s", name);
    folder->now[i].node = what;
}

static void take_out(node *folder, const char *name)
{
    int i = find(folder, name);
    assert_true(i >= 0);
    folder->now[i] = folder->now[--folder->n_now];
}

static void sync_node(node *n)
{
    n->synced = n->size;
    memcpy(n->kept, n->now, sizeof n->now);
    n->n_kept = n->n_now;
}

// The folder that holds a path below root, and its last name; the node itself where `self`.
static node *walk(node *root, const char *root_path, const char *path, char name[64], bool self)
{
    assert_int_equal(strncmp(path, root_path, strlen(root_path)), 0);
    path += strlen(root_path);
    node *at = root;
    while (*path == '/') {
        size_t n = strcspn(++path, "/");
        snprintf(name, 64, "%.*s", (int)n, path);
        path += n;
        if (!*path && !self) return at;
        int i = find(at, name);
        if (i < 0) fail_msg("%s is not on the disk", path);
        at = at->now[i].node;
    }
    return at;
}

static void apply(node *root, const char *root_path, const call_record *c)
{
    char name[64], to[64];
    node *folder, *n;
    switch (c->call) {
    case HONE_CALL_MKDIR:
        folder = walk(root, root_path, c->path, name, false);
        add(folder, name, new_node(true));
        break;
    case HONE_CALL_CREATE:
        folder = walk(root, root_path, c->path, name, false);
        add(folder, name, new_node(false));
        break;
    case HONE_CALL_WRITE:
        n = walk(root, root_path, c->path, name, true);
        n->data = realloc(n->data, n->size + c->size + 1);
        memcpy(n->data + n->size, c->data, c->size);
        n->size += c->size;
        break;
    case HONE_CALL_FSYNC:
        n = walk(root, root_path, c->path, name, true);
        if (n->folder || !forget_file_syncs) sync_node(n);
        break;
    case HONE_CALL_RENAME:
        n = walk(root, root_path, c->path, name, true);
        folder = walk(root, root_path, c->path, name, false);
        take_out(folder, name);
        add(walk(root, root_path, c->to, to, false), to, n);
        break;
    case HONE_CALL_REMOVE:
        folder = walk(root, root_path, c->path, name, false);
        take_out(folder, name);
        break;
    default: fail_msg("call %d is not expected", (int)c->call);
    }
}

typedef enum { LAZY, EAGER, TORN, WHOLE, WAYS } way;

static void put_on_disk(const node *n, const char *path, way how)
{
    char inner[800];
    if (n->folder) {
        mkdir(path, 0777);
        for (int i = 0; i < (how == LAZY ? n->n_kept : n->n_now); i++) {
            const entry *e = how == LAZY ? &n->kept[i] : &n->now[i];
            snprintf(inner, sizeof inner, "%s/%s", path, e->name);
            put_on_disk(e->node, inner, how);
        }
        return;
    }
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    size_t size = how == WHOLE ? n->size : how == TORN ? n->synced + (n->size - n->synced) / 2 : n->synced;
    if (size) assert_int_equal(fwrite(n->data, 1, size, file), size);
    fclose(file);
}

static void take_from_disk(node *n, const char *path)
{
    char **names;
    int64_t count;
    size_t size;
    if (n->folder) {
        assert_int_equal(hone_dir_list(path, &names, &count), HONE_OK);
        for (int64_t i = 0; i < count; i++) {
            char *inner = hone_path_join(path, names[i]);
            node *child = new_node(hone_dir_exists(inner));
            take_from_disk(child, inner);
            add(n, names[i], child);
            hone_free(inner);
            hone_free(names[i]);
        }
        hone_free(names);
    } else {
        char *data;
        assert_int_equal(hone_file_read(path, &data, &size), HONE_OK);
        memcpy(n->data = malloc(size + 1), data, size);
        n->size = size;
        hone_free(data);
    }
    sync_node(n);
}

// The claim -----------------------------------------------------------------------------------------------------------

static hone_status save(test_store *store, const char *folder, int64_t step, int64_t limit)
{
    hone_checkpoint_writer *writer;
    const hone_checkpoint_options options = { &store->model, test_store_place, NULL, store, folder, { NULL, NULL }, limit, false };
    const hone_checkpoint_state state = { .step = step };
    hone_status status = hone_checkpoint_open(&writer, &options);
    if (!status) status = hone_checkpoint_start(writer, &state);
    if (!status) status = hone_checkpoint_finish(writer, NULL);
    hone_checkpoint_close(writer);
    return status;
}

// What the four ways of a cut left, as bits: 1 the old, 2 the new. A run that starts there finds the same one again.
static int cut_power(const node *root, int call, test_store *old, test_store *new, test_store *read)
{
    int seen = 0;
    for (way how = LAZY; how < WAYS; how++) {
        char *path;
        assert_int_equal(hone_dir_remove(test_path("after")), HONE_OK);
        put_on_disk(root, test_path("after"), how);
        if (hone_checkpoint_find_last(test_path("after"), &path)) fail_msg("call %d, way %d: %s", call, how, hone_error());
        if (!path) fail_msg("call %d, way %d: no checkpoint is left", call, how);
        if (hone_checkpoint_load(path, &read->model, test_store_place, NULL, read, NULL)) fail_msg("call %d, way %d: %s", call, how, hone_error());
        bool is_new = test_store_equal(read, new);
        seen |= is_new ? 2 : 1;
        assert_true(is_new || test_store_equal(read, old));
        hone_free(path);
        assert_int_equal(hone_checkpoint_repair_folder(test_path("after")), HONE_OK);
        assert_int_equal(hone_checkpoint_find_last(test_path("after"), &path), HONE_OK);
        assert_non_null(path);
        assert_int_equal(hone_checkpoint_load(path, &read->model, test_store_place, NULL, read, NULL), HONE_OK);
        assert_true(test_store_equal(read, is_new ? new : old));
        assert_true(hone_checkpoint_step_of(strrchr(path, '/') + 1) >= 0);
        hone_free(path);
    }
    return seen;
}

// A step folder that appeared torn would only warn; here even that must not happen: names are published behind their bytes.
// again: the new one is the same step as the old.
static void crash_everywhere(int64_t limit, bool again)
{
    hone_config config = { 0 };
    json_t *json;
    const char *text = "{\"model_type\": \"gpt2\", \"vocab_size\": 5, \"n_positions\": 4, \"n_embd\": 4, \"n_layer\": 1, \"n_head\": 2}";
    assert_int_equal(hone_json_parse("tiny", text, strlen(text), &json), HONE_OK);
    assert_int_equal(hone_config_read(&config, json, "tiny"), HONE_OK);
    json_decref(json);
    test_store old, new, read;
    test_store_open(&old, &config, true);
    test_store_open(&new, &config, true);
    test_store_open(&read, &config, true);
    test_store_fill(&old, 1);
    test_store_fill(&new, 2);

    const char *folder = test_path("crash");
    assert_int_equal(hone_dir_remove(folder), HONE_OK);
    if (save(&old, folder, 1, limit)) fail_msg("%s", hone_error());
    node *root = new_node(true);
    take_from_disk(root, folder);
    n_calls = 0;
    hone_fault_hook = record;
    hone_status status = save(&new, folder, again ? 1 : 2, limit);
    hone_fault_hook = NULL;
    if (status) fail_msg("%s", hone_error());
    assert_true(n_calls > 30);

    int seen = cut_power(root, 0, &old, &new, &read), became_new = -1;
    assert_int_equal(seen, 1);
    for (int i = 0; i < n_calls; i++) {
        apply(root, folder, &calls[i]);
        if (calls[i].call == HONE_CALL_WRITE && i % 8 && !getenv("HONE_TEST_LONG")) continue;   // many small ones, all alike
        seen = cut_power(root, i + 1, &old, &new, &read);
        if (became_new >= 0) assert_int_equal(seen, 2);   // once every way gives the new one, none ever goes back
        else if (seen == 2) became_new = i;
    }
    assert_true(became_new > 0);
    if (again) goto out;
    // The control: had files not been synced before they were named, the cut would show it.
    wipe();
    root = new_node(true);
    add(root, "step-1", new_node(true));
    forget_file_syncs = true;
    for (int i = 0; i < n_calls && !(calls[i].call == HONE_CALL_RENAME && strstr(calls[i].path, "step-1")); i++) apply(root, folder, &calls[i]);
    forget_file_syncs = false;
    assert_int_equal(hone_dir_remove(test_path("after")), HONE_OK);
    put_on_disk(root, test_path("after"), EAGER);
    assert_int_equal(hone_checkpoint_verify(test_path("after/step-2")), HONE_FAILED);

out:
    for (int i = 0; i < n_calls; i++) {
        free(calls[i].path);
        free(calls[i].to);
        free(calls[i].data);
    }
    wipe();
    test_store_close(&old);
    test_store_close(&new);
    test_store_close(&read);
}

static void test_a_power_cut_leaves_a_checkpoint(void **state) { (void)state; crash_everywhere(0, false); }
static void test_a_power_cut_leaves_a_checkpoint_where_only_one_is_kept(void **state) { (void)state; crash_everywhere(1, false); }
static void test_a_power_cut_while_a_step_is_saved_again_leaves_one_of_the_two(void **state) { (void)state; crash_everywhere(0, true); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_power_cut_leaves_a_checkpoint),
        cmocka_unit_test(test_a_power_cut_leaves_a_checkpoint_where_only_one_is_kept),
        cmocka_unit_test(test_a_power_cut_while_a_step_is_saved_again_leaves_one_of_the_two),
    };
    return cmocka_run_group_tests(tests, test_folder_make, test_folder_remove);
}
