// task.c: see task.h.
#include "gen/task.h"
#include "base/file.h"
#include "base/nearest.h"
#include "data/record.h"
#include <ctype.h>
#include <glob.h>
#include <inttypes.h>
#include <string.h>

static const hone_task tasks[] = {
#define TASK(name, files, columns, trimmed, start, prompt, answers, gold, first, measure, shots, examples, what) \
    { #name, files, columns, trimmed, start, prompt, answers, gold, first, HONE_MEASURE_##measure, shots, examples, what },
#include "gen/tasks.def"
};
enum { TASKS = sizeof tasks / sizeof *tasks };

const hone_task *hone_task_at(int index) { return index < TASKS ? &tasks[index] : NULL; }

hone_status hone_task_find(const char *name, const hone_task **task)
{
    const char *names[TASKS];
    for (int i = 0; i < TASKS; i++) {
        names[i] = tasks[i].name;
        if (!strcmp(name, names[i])) { *task = &tasks[i]; return HONE_OK; }
    }
    const char *nearest = hone_nearest(name, names, TASKS);
    return hone_fail_usage("--tasks %s: there is no such task%s%s; hone eval --help names them", name, nearest ? "; did you mean " : "", nearest ? nearest : "");
}

// --- texts of a record ---

static hone_status add_text(char ***list, int64_t *count, const char *text, size_t size)
{
    char **grown = hone_realloc(*list, (size_t)*count + 1, sizeof **list), *copy;
    if (!grown) return HONE_FAILED;
    *list = grown;
    if (!(copy = hone_alloc(size + 1, 1))) return HONE_FAILED;
    memcpy(copy, text, size);
    grown[(*count)++] = copy;
    return HONE_OK;
}

static hone_status add_list(char ***list, int64_t *count, const json_t *array, const char *name, const char *where)
{
    if (json_array_size(array) == 0) return hone_fail("%s: \"%s\" is an empty list", where, name);
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *one = json_array_get(array, i);
        if (!json_is_string(one)) return hone_fail("%s: element %zu of \"%s\" is no string", where, i, name);
        if (add_text(list, count, json_string_value(one), json_string_length(one))) return HONE_FAILED;
    }
    return HONE_OK;
}

// One template or word of `size` bytes; a field alone that is a list gives all its elements.
static hone_status add_filled(char ***list, int64_t *count, const char *text, size_t size, const json_t *record, const char *where)
{
    char copy[256];
    hone_template fields;
    hone_buffer out = { 0 };
    HONE_ASSERT(size < sizeof copy, "a template of %zu bytes in tasks.def", size);
    memcpy(copy, text, size);
    copy[size] = 0;
    if (!strchr(copy, '{')) return add_text(list, count, copy, size);
    if (hone_template_parse(&fields, copy)) return HONE_FAILED;
    const json_t *alone = fields.single ? hone_record_field(record, fields.part[0].text) : NULL;
    hone_status status = json_is_array(alone) ? add_list(list, count, alone, fields.part[0].text, where)
                       : hone_record_fill(record, &fields, where, "is this the task's file? docs/data.md shows its layout", &out);
    if (!status && !json_is_array(alone)) status = add_text(list, count, out.data ? out.data : "", out.size);
    hone_template_release(&fields);
    hone_buffer_release(&out);
    return status;
}

static hone_status add_answers(hone_question *q, const char *answers, const json_t *record, const char *where)
{
    for (const char *at = answers; *at;) {
        size_t size = strcspn(at, "|");
        if (add_filled(&q->answer, &q->n_answer, at, size, record, where)) return HONE_FAILED;
        at += size + (at[size] == '|');
    }
    return HONE_OK;
}

// The right one, by its number or letter.
static hone_status read_gold(const hone_task *task, const json_t *record, int64_t count, const char *where, int64_t *gold)
{
    const json_t *value = hone_record_field(record, task->gold);
    const char *text = json_string_value(value);
    if (text && text[0] && !text[1]) *gold = isdigit((unsigned char)text[0]) ? text[0] - '0' - task->first : toupper((unsigned char)text[0]) - 'A';
    else if (json_is_integer(value)) *gold = json_integer_value(value) - task->first;
    else return hone_fail("%s: \"%s\" should say which answer is right, by a number or a letter", where, task->gold);
    if (*gold >= 0 && *gold < count) return HONE_OK;
    return hone_fail("%s: \"%s\" names answer %" PRId64 " of %" PRId64, where, task->gold, *gold + 1, count);
}

static bool white(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static hone_status trim(const hone_task *task, json_t *record)
{
    const char *text = json_string_value(json_object_get(record, task->trimmed));
    if (!text) return HONE_OK;          // its absence is told where it is used
    size_t start = strlen(task->start);
    if (start && !strncmp(text, task->start, start)) text += start;
    while (white(*text)) text++;
    size_t size = strlen(text);
    while (size && white(text[size - 1])) size--;
    json_t *value = json_stringn(text, size);
    return value && !json_object_set_new(record, task->trimmed, value) ? HONE_OK : hone_fail("out of memory");
}

// "mmlu/college_biology_test.csv" -> "college biology"
static hone_status set_subject(json_t *record, const char *part)
{
    char subject[256];
    size_t n = strcspn(part, ".") < sizeof subject ? strcspn(part, ".") : sizeof subject - 1;
    if (n > 5 && !strncmp(part + n - 5, "_test", 5)) n -= 5;
    for (size_t i = 0; i < n; i++) subject[i] = (char)(part[i] == '_' ? ' ' : part[i]);
    json_t *value = json_stringn(subject, n);
    return value && !json_object_set_new(record, "subject", value) ? HONE_OK : hone_fail("the name of the file %s is not valid UTF-8", part);
}

static hone_status fill_question(const hone_task *task, json_t *record, const char *part, const char *where, hone_question *q)
{
    hone_status status = trim(task, record);
    if (!status) status = set_subject(record, part);
    if (!status) status = add_filled(&q->prompt, &q->n_prompt, task->prompt, strlen(task->prompt), record, where);
    if (!status) status = add_answers(q, task->answers, record, where);
    if (!status && q->n_prompt > 1 && q->n_answer > 1) status = hone_fail("%s: several prompts and several answers; one of them must be one", where);
    if (!status && *task->gold) status = read_gold(task, record, q->n_prompt > 1 ? q->n_prompt : q->n_answer, where, &q->gold);
    return status;
}

// --- files ---

static void release_question(hone_question *q)
{
    for (int64_t i = 0; i < q->n_prompt; i++) hone_free(q->prompt[i]);
    for (int64_t i = 0; i < q->n_answer; i++) hone_free(q->answer[i]);
    hone_free(q->prompt);
    hone_free(q->answer);
}

void hone_questions_release(hone_questions *all)
{
    for (int64_t i = 0; i < all->count; i++) release_question(&all->question[i]);
    for (int64_t i = 0; i < all->n_part; i++) hone_free(all->part[i]);
    hone_free(all->question);
    hone_free(all->part);
    *all = (hone_questions){ 0 };
}

static const char *name_of(const char *path) { return strrchr(path, '/') ? strrchr(path, '/') + 1 : path; }

static hone_status read_file(const hone_task *task, const char *path, int64_t limit, hone_questions *all)
{
    hone_task_rows rows;
    hone_status status = hone_grow(&all->part, all->n_part, &all->part_capacity, sizeof *all->part);
    if (status || !(all->part[all->n_part] = hone_strdup(name_of(path)))) return HONE_FAILED;
    all->n_part++;
    if (hone_task_rows_open(&rows, path, task->columns)) return HONE_FAILED;
    int64_t before = all->count;
    for (json_t *record; !status && (limit == 0 || all->count - before < limit);) {
        if ((status = hone_task_rows_next(&rows, &record)) || !record) break;
        if (!(status = hone_grow(&all->question, all->count, &all->capacity, sizeof *all->question))) {
            hone_question *q = &all->question[all->count++];
            *q = (hone_question){ .part = all->n_part - 1 };
            status = fill_question(task, record, all->part[q->part], rows.where, q);
        }
        json_decref(record);
    }
    if (!status && all->count == before) status = hone_fail("%s: no questions in it", path);
    hone_task_rows_close(&rows);
    return status;
}

// The files of a pattern below a folder, sorted; globfree() them. In the folder's own name nothing is a pattern.
static hone_status list_files(const char *folder, const char *files, glob_t *found)
{
    hone_buffer pattern = { 0 };
    hone_status status = HONE_OK;
    for (const char *c = folder; *c && !status; c++) status = hone_buffer_print(&pattern, "%s%c", strchr("*?[]\\", *c) ? "\\" : "", *c);
    if (!status) status = hone_buffer_print(&pattern, "/%s", files);
    *found = (glob_t){ 0 };
    int code = status ? 0 : glob(pattern.data, 0, NULL, found);
    if (code == GLOB_NOMATCH) *found = (glob_t){ 0 };
    hone_buffer_release(&pattern);
    if (status) return HONE_FAILED;
    return code == 0 || code == GLOB_NOMATCH ? HONE_OK : hone_fail("%s: cannot list %s there", folder, files);
}

bool hone_task_has_files(const hone_task *task, const char *folder)
{
    glob_t found;
    bool has = !list_files(folder, task->files, &found) && found.gl_pathc > 0;
    if (has) globfree(&found);
    return has;
}

static hone_status read_files(const hone_task *task, const char *folder, const char *files, int64_t limit, hone_questions *all)
{
    glob_t found;
    if (list_files(folder, files, &found)) return HONE_FAILED;
    hone_status status = found.gl_pathc ? HONE_OK : hone_fail("%s: the task %s wants %s there, and there is none", folder, task->name, files);
    for (size_t i = 0; i < found.gl_pathc && !status; i++) status = read_file(task, found.gl_pathv[i], limit, all);
    globfree(&found);
    return status;
}

// "prompt answer\n\n" of each worked example, in front of every prompt.
static hone_status put_in_front(const hone_questions *examples, hone_questions *all)
{
    hone_buffer front = { 0 };
    hone_status status = HONE_OK;
    for (int64_t i = 0; i < examples->count && !status; i++)
        status = hone_buffer_print(&front, "%s %s\n\n", examples->question[i].prompt[0], examples->question[i].answer[0]);
    for (int64_t i = 0; i < all->count && !status; i++) {
        char *whole = hone_format("%s%s", front.data ? front.data : "", all->question[i].prompt[0]);
        if (!whole) status = HONE_FAILED;
        else hone_free(all->question[i].prompt[0]), all->question[i].prompt[0] = whole;
    }
    hone_buffer_release(&front);
    return status;
}

hone_status hone_task_load(const hone_task *task, const char *folder, int64_t limit, int64_t shots, hone_questions *all)
{
    *all = (hone_questions){ .task = task };
    if (shots < 0) shots = task->shots;
    if (shots > 0 && !*task->examples) return hone_fail("%s: --shots %" PRId64 ": this task has no file of worked examples; leave --shots out", task->name, shots);
    hone_status status = read_files(task, folder, task->files, limit, all);
    if (status || shots == 0) return status;
    hone_questions examples = { 0 };
    status = read_files(task, folder, task->examples, shots, &examples);
    if (!status && examples.count < shots) status = hone_fail("%s: %" PRId64 " worked examples asked, %s has %" PRId64, folder, shots, task->examples, examples.count);
    if (!status) status = put_in_front(&examples, all);
    hone_questions_release(&examples);
    return status;
}
