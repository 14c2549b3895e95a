// checkpoint_folder.c: the checkpoints of a run folder: which there are, how one takes its place, which ones go.
//
//     step-300          whole: it was published by rename, behind its bytes
//     step-300.tmp      being written                         never read
//     step-300.aside    the earlier step-300, while a new one takes its place: counts where there is no step-300
//     step-300.old.tmp  being removed                         never read
//
// A step is saved a second time where a run went back. The old one moves aside, the new one takes its name, the old one
// goes: at every point of that one of the two is found, on any file system (an exchanging rename is not everywhere).
#include "io/checkpoint.h"
#include "base/memory.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char ASIDE[] = ".aside";

static int64_t step_of_part(const char *name, size_t length)
{
    size_t digits = length > 5 && strncmp(name, "step-", 5) == 0 ? strspn(name + 5, "0123456789") : 0;
    return digits == 0 || digits > 18 || 5 + digits != length ? -1 : strtoll(name + 5, NULL, 10);
}

int64_t hone_checkpoint_step_of(const char *name) { return step_of_part(name, strlen(name)); }

// The step whose earlier version a name is, or -1.
static int64_t step_of_aside(const char *name)
{
    size_t n = strlen(name), tail = sizeof ASIDE - 1;
    return n > tail && strcmp(name + n - tail, ASIDE) == 0 ? step_of_part(name, n - tail) : -1;
}

void hone_checkpoint_list_release(hone_checkpoint_list *list)
{
    for (int64_t i = 0; i < list->count; i++) hone_free(list->entry[i].path);
    hone_free(list->entry);
    *list = (hone_checkpoint_list){ 0 };
}

static int by_step(const void *a, const void *b)
{
    const hone_checkpoint_entry *x = a, *y = b;
    return x->step != y->step ? (x->step > y->step) - (x->step < y->step) : x->aside - y->aside;
}

hone_status hone_checkpoint_list_folder(const char *folder, hone_checkpoint_list *list)
{
    char **names;
    int64_t count, kept = 0;
    *list = (hone_checkpoint_list){ 0 };
    if (!hone_dir_exists(folder)) return HONE_OK;
    hone_status status = hone_dir_list(folder, &names, &count);
    if (status) return status;
    list->entry = hone_alloc((size_t)count + 1, sizeof *list->entry);
    if (!list->entry) status = HONE_FAILED;
    for (int64_t i = 0; i < count; i++) {
        int64_t step = hone_checkpoint_step_of(names[i]), aside = step_of_aside(names[i]);
        if (!status && (step >= 0 || aside >= 0)) {
            hone_checkpoint_entry *e = &list->entry[list->count];
            *e = (hone_checkpoint_entry){ .step = step >= 0 ? step : aside, .aside = step < 0, .path = hone_path_join(folder, names[i]) };
            if (e->path) list->count++;
            else status = HONE_FAILED;
        }
        hone_free(names[i]);
    }
    hone_free(names);
    if (status) { hone_checkpoint_list_release(list); return status; }
    if (list->count > 1) qsort(list->entry, (size_t)list->count, sizeof *list->entry, by_step);
    for (int64_t i = 0; i < list->count; i++) {   // an aside behind its step is left over
        hone_checkpoint_entry *e = &list->entry[i];
        if (e->aside && kept > 0 && list->entry[kept - 1].step == e->step) hone_free(e->path);
        else list->entry[kept++] = *e;
    }
    list->count = kept;
    return HONE_OK;
}

hone_status hone_checkpoint_find_last(const char *folder, char **path)
{
    hone_checkpoint_list list;
    hone_buffer damaged = { 0 };
    *path = NULL;
    hone_status status = hone_checkpoint_list_folder(folder, &list);
    for (int64_t i = list.count - 1; i >= 0 && !*path && !status; i--) {
        const char *candidate = list.entry[i].path;
        if (hone_checkpoint_verify(candidate) == HONE_OK) {
            if (!(*path = hone_strdup(candidate))) status = HONE_FAILED;
            continue;
        }
        if (!hone_dir_exists(candidate)) continue;   // the run that saves here has just removed it
        status = hone_buffer_print(&damaged, "\n    %s", hone_error());
        if (!status) hone_warn("%s; checkpoint %s is not used", hone_error(), candidate);
    }
    if (!status && damaged.size > 0 && !*path)
        status = hone_fail("%s: no checkpoint is whole (%" PRId64 " %s):%s\n  copy a whole one back into that folder, or move these away"
                           " (mv %s/step-* ELSEWHERE) to start anew", folder, list.count, list.count == 1 ? "is damaged" : "are damaged", damaged.data, folder);
    hone_buffer_release(&damaged);
    hone_checkpoint_list_release(&list);
    return status;
}

// Changing it ---------------------------------------------------------------------------------------------------------

hone_status hone_checkpoint_publish(const char *temporary, const char *final_path)
{
    if (!hone_dir_exists(final_path)) return hone_dir_publish(temporary, final_path);
    char *aside = hone_format("%s%s", final_path, ASIDE);
    if (!aside) return HONE_FAILED;
    hone_status status = hone_dir_remove(aside);   // there is a final_path: it does not count
    if (!status) status = hone_dir_publish(final_path, aside);
    if (!status && (status = hone_dir_publish(temporary, final_path))) {
        char message[1024];
        snprintf(message, sizeof message, "%s", hone_error());
        if (!hone_dir_exists(final_path)) hone_dir_publish(aside, final_path);
        hone_fail("%s", message);
    } else if (!status) {
        status = hone_dir_remove(aside);
    }
    hone_free(aside);
    return status;
}

// Renamed before it is taken apart: a removal that is interrupted must not look like a damaged checkpoint.
hone_status hone_checkpoint_remove(const char *path)
{
    char *old = hone_format("%s.old.tmp", path);
    hone_status status = old ? hone_dir_remove(old) : HONE_FAILED;
    if (!status) status = hone_dir_publish(path, old);
    if (!status) status = hone_dir_remove(old);
    hone_free(old);
    return status;
}

int64_t hone_checkpoint_find_best(const hone_checkpoint_list *list, double *held_loss)
{
    int64_t best = -1;
    *held_loss = 0;
    for (int64_t i = 0; i < list->count; i++) {
        hone_checkpoint_state state;
        if (hone_checkpoint_read_state(list->entry[i].path, &state)) continue;   // damaged: it is not the best
        if (state.held_loss > 0 && (best < 0 || state.held_loss < *held_loss)) {
            best = list->entry[i].step;
            *held_loss = state.held_loss;
        }
        hone_checkpoint_state_release(&state);
    }
    hone_error_clear();
    return best;
}

hone_status hone_checkpoint_drop_old(const char *folder, int64_t limit, bool keep_best, int64_t kept)
{
    hone_checkpoint_list list;
    double loss;
    if (limit <= 0) return HONE_OK;
    hone_status status = hone_checkpoint_list_folder(folder, &list);
    int64_t best = keep_best && !status ? hone_checkpoint_find_best(&list, &loss) : -1, excess = list.count - limit;
    for (int64_t i = 0; i < list.count && !status && excess > 0; i++) {
        if (list.entry[i].step == kept) continue;
        excess--;
        if (list.entry[i].step != best) status = hone_checkpoint_remove(list.entry[i].path);   // the best stays beyond the limit
    }
    hone_checkpoint_list_release(&list);
    return status;
}

// Folders "replay-N" (train/bad_step.h): the newest two stay.
hone_status hone_checkpoint_drop_replays(const char *folder)
{
    char **names;
    int64_t count, newest[2] = { -1, -1 };
    hone_status status = hone_dir_list(folder, &names, &count);
    if (status) return status;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t i = 0; i < count && !status; i++) {
            char *end = names[i];
            int64_t step = strncmp(names[i], "replay-", 7) == 0 ? strtoll(names[i] + 7, &end, 10) : -1;
            if (step < 0 || *end) continue;
            if (pass == 0 && step > newest[0]) { newest[1] = newest[0]; newest[0] = step; }
            else if (pass == 0 && step > newest[1]) newest[1] = step;
            if (pass == 0 || step >= newest[1]) continue;
            char *path = hone_path_join(folder, names[i]);
            status = path ? hone_checkpoint_remove(path) : HONE_FAILED;
            hone_free(path);
        }
    for (int64_t i = 0; i < count; i++) hone_free(names[i]);
    hone_free(names);
    return status;
}

static bool is_leftover(const char *name)
{
    size_t n = strlen(name);
    bool ours = strncmp(name, "step-", 5) == 0 || strncmp(name, "replay-", 7) == 0;
    return ours && n >= 9 && strcmp(name + n - 4, ".tmp") == 0;
}

// An aside whose step is missing gets its name back; everything else that was left goes.
static hone_status repair_name(const char *folder, const char *name, int64_t aside)
{
    char *path = hone_path_join(folder, name), *place = aside >= 0 ? hone_format("%s/step-%" PRId64, folder, aside) : NULL;
    hone_status status = HONE_FAILED;
    if (path && (place || aside < 0)) status = place && !hone_dir_exists(place) ? hone_dir_publish(path, place) : hone_dir_remove(path);
    hone_free(place);
    hone_free(path);
    return status;
}

hone_status hone_checkpoint_repair_folder(const char *folder)
{
    char **names;
    int64_t count;
    hone_status status = hone_dir_list(folder, &names, &count);
    if (status) return status;
    for (int64_t i = 0; i < count; i++) {
        int64_t aside = step_of_aside(names[i]);
        if (!status && (aside >= 0 || is_leftover(names[i]))) status = repair_name(folder, names[i], aside);
        hone_free(names[i]);
    }
    hone_free(names);
    return status;
}
