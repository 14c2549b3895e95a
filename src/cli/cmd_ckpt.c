// cmd_ckpt.c: the words of hone ckpt: looks at the checkpoints of a run, and takes old ones away.
#include "base/file.h"
#include "base/json.h"
#include "base/lock.h"
#include "base/memory.h"
#include "base/units.h"
#include "cli/args.h"
#include "cli/verbs.h"
#include "io/checkpoint_look.h"
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

// All bytes below a folder; what vanishes meanwhile counts nothing.
static int64_t bytes_of(const char *path)
{
    char **names;
    int64_t count, bytes = 0;
    struct stat about;
    if (hone_dir_list(path, &names, &count)) return 0;
    for (int64_t i = 0; i < count; i++) {
        char *inner = hone_path_join(path, names[i]);
        if (inner && lstat(inner, &about) == 0) bytes += S_ISDIR(about.st_mode) ? bytes_of(inner) : (int64_t)about.st_size;
        hone_free(inner);
        hone_free(names[i]);
    }
    hone_free(names);
    return bytes;
}

// The list of a run's checkpoints; a folder without any is an error that says so.
static hone_status list_run(const char *folder, hone_checkpoint_list *list)
{
    *list = (hone_checkpoint_list){ 0 };
    if (!hone_dir_exists(folder)) return hone_fail("%s: no such folder; give the output_dir of a run", folder);
    hone_status status = hone_checkpoint_list_folder(folder, list);
    if (!status && list->count == 0) status = hone_fail("%s: holds no checkpoint (step-N); give the output_dir of a run", folder);
    return status;
}

// ls ------------------------------------------------------------------------------------------------------------------

static json_t *entry_json(const hone_checkpoint_entry *entry, const hone_checkpoint_state *state, int64_t bytes, bool best, const char *saved)
{
    json_t *row = json_pack("{s:s, s:I, s:I, s:s, s:b}", "path", entry->path, "step", (json_int_t)entry->step, "bytes", (json_int_t)bytes, "saved", saved,
                            "readable", state != NULL);
    if (row && state) {
        json_object_set_new(row, "trained_tokens", json_integer(state->tokens));
        json_object_set_new(row, "seconds", json_real(state->seconds));
        if (state->held_loss > 0) json_object_set_new(row, "held_out_loss", json_real(state->held_loss));
        if (state->held_loss > 0) json_object_set_new(row, "best", json_boolean(best));
    }
    return row;
}

static void print_entry(const hone_checkpoint_entry *entry, const hone_checkpoint_state *state, int64_t bytes, bool best, const char *saved)
{
    char held[32] = "-";
    if (state && state->held_loss > 0) snprintf(held, sizeof held, "%.4f%s", state->held_loss, best ? " best" : "");
    printf("  %8s  %s  %10s  %10s  %8s  %s%s\n", hone_units_grouped(entry->step).s, saved, hone_units_bytes((double)bytes).s,
           state ? hone_units_count((double)state->tokens).s : "-", state ? hone_units_time(state->seconds).s : "-", held,
           state ? "" : "  state.json is damaged");
}

static hone_status list_checkpoints(const char *folder, bool json)
{
    hone_checkpoint_list list;
    double best_loss;
    int64_t total = 0;
    hone_status status = list_run(folder, &list);
    if (status) return status;
    int64_t best = hone_checkpoint_find_best(&list, &best_loss);
    json_t *rows = json_array();
    for (int64_t i = 0; i < list.count; i++) total += bytes_of(list.entry[i].path);
    if (!json) {
        printf("%s  %s checkpoint%s  %s\n", folder, hone_units_grouped(list.count).s, list.count == 1 ? "" : "s", hone_units_bytes((double)total).s);
        printf("  %8s  %-16s  %10s  %10s  %8s  %s\n", "step", "saved", "size", "tokens", "trained", "held-out loss");
    }
    for (int64_t i = 0; i < list.count; i++) {
        const hone_checkpoint_entry *e = &list.entry[i];
        hone_checkpoint_state state;
        char saved[32] = "-";
        struct stat about;
        struct tm local;
        if (stat(e->path, &about) == 0) strftime(saved, sizeof saved, "%Y-%m-%d %H:%M", localtime_r(&about.st_mtime, &local));
        bool readable = hone_checkpoint_read_state(e->path, &state) == HONE_OK;
        if (!readable && !hone_dir_exists(e->path)) continue; // a run under way has just taken it away
        int64_t bytes = bytes_of(e->path);
        if (json) json_array_append_new(rows, entry_json(e, readable ? &state : NULL, bytes, e->step == best, saved));
        else print_entry(e, readable ? &state : NULL, bytes, e->step == best, saved);
        if (readable) hone_checkpoint_state_release(&state);
    }
    hone_checkpoint_list_release(&list);
    if (json) status = hone_cli_print_json(rows);
    json_decref(rows);
    return status;
}

hone_status hone_cmd_ckpt_ls(int argc, char **argv)
{
    bool done, json = false;
    const hone_cli_option options[] = { { "json", HONE_CLI_FLAG, &json, NULL, "print a JSON list" }, { 0 } };
    const hone_cli_command command = { "ckpt ls", "[options] RUN", "Lists the checkpoints of a run's output_dir: step, when, size, tokens, time trained, held-out loss where it was\n"
        "measured at that step.", "hone ckpt ls run", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (argc != 1) return hone_fail_usage("ckpt ls: which run? hone ckpt ls RUN");
    return list_checkpoints(argv[0], json);
}

// verify --------------------------------------------------------------------------------------------------------------

// One line; true: it is whole and sound, or a run under way has just taken it away.
static bool verify_one(const char *path, bool listed)
{
    bool whole = hone_checkpoint_verify(path) == HONE_OK, finite = whole && hone_checkpoint_check_finite(path) == HONE_OK;
    if (!finite && listed && !hone_dir_exists(path)) printf("  removed     %s, meanwhile\n", path);
    else if (!whole) printf("  damaged     %s\n              %s\n", path, hone_error());
    else if (!finite) printf("  not finite  %s\n              %s\n", path, hone_error());
    else printf("  whole       %s\n", path);
    fflush(stdout);
    return finite || (listed && !hone_dir_exists(path));
}

static hone_status verify_path(const char *path, int64_t *seen, int64_t *bad)
{
    hone_checkpoint_list list;
    char *state = hone_path_join(path, "state.json");
    bool single = state && (hone_file_exists(state) || hone_checkpoint_step_of(strrchr(path, '/') ? strrchr(path, '/') + 1 : path) >= 0);
    hone_free(state);
    if (single) {
        ++*seen;
        *bad += !verify_one(path, false);
        return HONE_OK;
    }
    hone_status status = list_run(path, &list);
    for (int64_t i = 0; i < list.count && !status; i++) {
        ++*seen;
        *bad += !verify_one(list.entry[i].path, true);
    }
    hone_checkpoint_list_release(&list);
    return status;
}

hone_status hone_cmd_ckpt_verify(int argc, char **argv)
{
    bool done;
    int64_t seen = 0, bad = 0;
    const hone_cli_option options[] = { { 0 } };
    const hone_cli_command command = { "ckpt verify", "RUN|STEP-FOLDER ...", "Reads every byte of checkpoints and compares it with what was written: size and XXH3 of each file; then looks\n"
        "for weights and moments that are not finite. The exit code is 1 where one is damaged.", "hone ckpt verify run", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (argc < 1) return hone_fail_usage("ckpt verify: which one? hone ckpt verify RUN, or a step folder");
    for (int i = 0; i < argc && !status; i++) status = verify_path(argv[i], &seen, &bad);
    if (!status && bad) status = hone_fail("%" PRId64 " of %" PRId64 " checkpoint%s cannot be used; hone pretrain takes the newest whole one", bad, seen, seen == 1 ? "" : "s");
    return status;
}

// diff ----------------------------------------------------------------------------------------------------------------

static void print_difference(const hone_tensor_difference *d)
{
    if (d->only && !strcmp(d->only, "shape")) printf("  another shape or type                 %s\n", d->name);
    else if (d->only) printf("  only in the %-24s  %s\n", d->only, d->name);
    else
        printf("  %10.3g  %10.3g  %11.1f%%  %s\n", d->relative, d->largest, 100 * (double)d->differing / (double)d->count, d->name);
}

static json_t *difference_json(const hone_checkpoint_difference *difference)
{
    json_t *rows = json_array();
    for (int64_t i = 0; i < difference->count; i++) {
        const hone_tensor_difference *d = &difference->tensor[i];
        json_t *row = json_pack("{s:s, s:s, s:I}", "name", d->name, "file", d->file, "elements", (json_int_t)d->count);
        if (row && d->only) json_object_set_new(row, "only", json_string(d->only));
        if (row && !d->only) {
            json_object_set_new(row, "differing", json_integer(d->differing));
            json_object_set_new(row, "largest", isfinite(d->largest) ? json_real(d->largest) : json_null());
            json_object_set_new(row, "relative", isfinite(d->relative) ? json_real(d->relative) : json_null());
        }
        json_array_append_new(rows, row);
    }
    json_t *relative = isfinite(difference->relative) ? json_real(difference->relative) : json_null();
    return json_pack("{s:I, s:o, s:o}", "equal", (json_int_t)difference->equal, "relative", relative, "tensors", rows);
}

hone_status hone_cmd_ckpt_diff(int argc, char **argv)
{
    bool done, json = false;
    int64_t top = 20;
    hone_checkpoint_difference d;
    const hone_cli_option options[] = { { "top", HONE_CLI_INT, &top, "N", "show so many tensors, the largest difference first (default 20; 0 = all)" },
                                        { "json", HONE_CLI_FLAG, &json, NULL, "print one JSON object, all tensors" }, { 0 } };
    const hone_cli_command command = { "ckpt diff", "[options] A B", "Which tensors of two checkpoints (or of any two Hugging Face folders) differ, and by how much:\n"
        "relative = ||a - b|| / ||a||, largest = max |a - b|, and the share of elements that differ at all.", "hone ckpt diff run/step-100 run/step-200", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (argc != 2) return hone_fail_usage("ckpt diff: which two? hone ckpt diff A B");
    if ((status = hone_checkpoint_diff(argv[0], argv[1], &d))) return status;
    if (json) {
        json_t *all = difference_json(&d);
        status = hone_cli_print_json(all);
        json_decref(all);
    } else {
        int64_t shown = top > 0 && top < d.count ? top : d.count;
        printf("%s  %s\n  %s tensor%s differ%s, %s equal bit by bit; all weights together %.3g\n", argv[0], argv[1], hone_units_grouped(d.count).s,
               d.count == 1 ? "" : "s", d.count == 1 ? "s" : "", hone_units_grouped(d.equal).s, d.relative);
        if (shown) printf("  %10s  %10s  %12s  %s\n", "relative", "largest", "of elements", "tensor");
        for (int64_t i = 0; i < shown; i++) print_difference(&d.tensor[i]);
        if (shown < d.count) printf("  ... %s more, --top 0 shows all\n", hone_units_grouped(d.count - shown).s);
    }
    hone_checkpoint_difference_release(&d);
    return status;
}

// prune ---------------------------------------------------------------------------------------------------------------

typedef struct { int64_t keep; bool best, damaged, replays, dry; int64_t freed, gone; } pruning;

static hone_status remove_one(pruning *p, const char *path, const char *why)
{
    int64_t bytes = bytes_of(path);
    hone_status status = p->dry ? HONE_OK : hone_checkpoint_remove(path);
    if (status) return status;
    printf("  %s  %10s  %s%s\n", p->dry ? "would go" : "gone    ", hone_units_bytes((double)bytes).s, path, why);
    p->freed += bytes;
    p->gone++;
    return HONE_OK;
}

// From the newest to the oldest: a damaged one does not count as kept.
static hone_status prune_steps(pruning *p, const hone_checkpoint_list *list)
{
    double loss;
    int64_t kept = 0, best = p->best ? hone_checkpoint_find_best(list, &loss) : -1;
    hone_status status = HONE_OK;
    for (int64_t i = list->count - 1; i >= 0 && !status; i--) {
        const hone_checkpoint_entry *e = &list->entry[i];
        if (hone_checkpoint_verify(e->path)) {
            if (p->damaged) status = remove_one(p, e->path, "  damaged");
            else printf("  damaged   %10s  %s (--damaged removes it)\n", hone_units_bytes((double)bytes_of(e->path)).s, e->path);
        } else if (kept < p->keep) {
            kept++;
        } else if (e->step != best) {
            status = remove_one(p, e->path, "");
        }
    }
    return status;
}

static hone_status prune_replays(pruning *p, const char *folder)
{
    char **names;
    int64_t count;
    hone_status status = hone_dir_list(folder, &names, &count);
    if (status) return status;
    for (int64_t i = 0; i < count; i++) {
        char *path = !status && strncmp(names[i], "replay-", 7) == 0 ? hone_path_join(folder, names[i]) : NULL;
        if (path) status = remove_one(p, path, "");
        hone_free(path);
        hone_free(names[i]);
    }
    hone_free(names);
    return status;
}

hone_status hone_cmd_ckpt_prune(int argc, char **argv)
{
    bool done;
    pruning p = { .keep = -1 };
    const hone_cli_option options[] = { { "keep", HONE_CLI_INT, &p.keep, "N", "so many of the newest whole ones stay (needed)" },
        { "keep-best", HONE_CLI_FLAG, &p.best, NULL, "and the one with the lowest held-out loss" },
        { "damaged", HONE_CLI_FLAG, &p.damaged, NULL, "remove damaged ones, too" },
        { "replays", HONE_CLI_FLAG, &p.replays, NULL, "remove replay-N folders, too" },
        { "dry-run", HONE_CLI_FLAG, &p.dry, NULL, "only say what would go" }, { 0 } };
    const hone_cli_command command = { "ckpt prune", "--keep N [options] RUN", "Removes old checkpoints of a run. Each is read and verified first: only whole ones count as kept.\n"
        "Not while the run is under way.", "hone ckpt prune --keep 1 --keep-best run", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (argc != 1) return hone_fail_usage("ckpt prune: which run? hone ckpt prune --keep N RUN");
    if (p.keep < 1) return hone_fail_usage("ckpt prune: --keep N: how many stay? at least 1");
    hone_lock lock = { .fd = -1 };
    hone_checkpoint_list list = { 0 };
    status = hone_dir_exists(argv[0]) ? HONE_OK : hone_fail("%s: no such folder; give the output_dir of a run", argv[0]);
    if (!status) status = hone_lock_take(&lock, argv[0], "hone ckpt prune");
    if (!status && !p.dry) status = hone_checkpoint_repair_folder(argv[0]);
    if (!status) status = list_run(argv[0], &list);
    if (!status) status = prune_steps(&p, &list);
    if (!status && p.replays) status = prune_replays(&p, argv[0]);
    if (!status)
        printf("%s  %s folder%s %s, %s\n", argv[0], hone_units_grouped(p.gone).s, p.gone == 1 ? "" : "s", p.dry ? "would go" : "removed",
               hone_units_bytes((double)p.freed).s);
    hone_checkpoint_list_release(&list);
    hone_lock_release(&lock);
    return status;
}
