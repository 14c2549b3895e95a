// inputs.c: see inputs.h.
#include "data/inputs.h"
#include "base/file.h"
#include "base/line_reader.h"
#include "base/nearest.h"

#include <glob.h>
#include <string.h>

const char *const hone_format_name[HONE_FORMAT_COUNT] = {
#define FORMAT(name, ends, what) #name,
#include "data/formats.def"
#undef FORMAT
};

static const char *const format_ends[HONE_FORMAT_COUNT] = {
#define FORMAT(name, ends, what) ends,
#include "data/formats.def"
#undef FORMAT
};

// Formats that a text may lie in but that are not read, each with what to do.
static const struct { const char *end, *remedy; } refused[] = {
    { ".parquet", "Parquet is not read: no maintained C library for it is packaged in Debian 12; convert it to JSONL, as in "
                  "python -c \"import pyarrow.parquet as p,sys; p.read_table(sys.argv[1]).to_pandas().to_json(sys.argv[2],orient='records',lines=True)\" IN.parquet OUT.jsonl" },
    { ".arrow", "Arrow is not read; convert it to JSONL" },
    { ".zip", "a zip archive is not read; unpack it and name the folder" },
    { ".tar", "a tar archive is not read; unpack it and name the folder" },
    { ".tgz", "a tar archive is not read; unpack it and name the folder" },
    { ".7z", "a 7z archive is not read; unpack it and name the folder" },
    { ".bz2", "bzip2 is not read; compress it with zstd, xz or gzip, or pipe it in: bzcat FILE | hone prepare ... -" },
    { ".pdf", "PDF is not read; convert it to text (pdftotext)" },
    { ".docx", "word processors' files are not read; convert it to text or HTML" },
    { ".epub", "EPUB is not read; unzip it and name the folder: the HTML in it is read" },
};

// Length of a name without .gz, .zst or .xz.
static size_t bare_length(const char *name)
{
    static const char *const packed[] = { ".gz", ".zst", ".xz" };
    size_t n = strlen(name);
    for (int i = 0; i < 3; i++) {
        size_t m = strlen(packed[i]);
        if (n > m && strcmp(name + n - m, packed[i]) == 0) return n - m;
    }
    return n;
}

static bool ends_in(const char *name, size_t length, const char *end, size_t end_length)
{
    return length > end_length && strncasecmp(name + length - end_length, end, end_length) == 0;
}

int hone_format_of(const char *name)
{
    size_t length = bare_length(name);
    for (int f = 0; f < HONE_FORMAT_COUNT; f++)
        for (const char *end = format_ends[f]; *end; end += strspn(end, " ")) {
            size_t n = strcspn(end, " ");
            if (ends_in(name, length, end, n)) return f;
            end += n;
        }
    return -1;
}

static hone_status refuse(const char *path)
{
    size_t length = bare_length(path);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (ends_in(path, length, refused[i].end, strlen(refused[i].end))) return hone_fail("%s: %s", path, refused[i].remedy);
    return HONE_OK;
}

typedef struct { hone_inputs *inputs; int forced; int depth; } walk; // forced: a format, -1 by name

// Is a file of a folder one to read?
static bool is_known(const walk *w, const char *path)
{
    int format = w->forced >= 0 ? w->forced : hone_format_of(path);
    return w->forced >= 0 || (format >= 0 && format != HONE_FORMAT_json);
}

static hone_status add_file(walk *w, const char *path, int64_t size, int64_t time)
{
    hone_inputs *inputs = w->inputs;
    int format = w->forced >= 0 ? w->forced : hone_format_of(path);
    if (format < 0) {
        hone_status status = refuse(path);
        if (status) return status;
        format = HONE_FORMAT_text;
    }
    if (hone_grow(&inputs->input, inputs->count, &inputs->capacity, sizeof *inputs->input)) return HONE_FAILED;
    hone_input *input = &inputs->input[inputs->count];
    *input = (hone_input){ hone_strdup(path), (hone_input_format)format, size, time };
    if (!input->path) return HONE_FAILED;
    inputs->count++;
    inputs->size_bytes += size;
    return HONE_OK;
}

static hone_status add_folder(walk *w, const char *folder)
{
    char **names;
    int64_t count;
    if (w->depth > 64) return hone_fail("%s: folders within folders more than 64 deep; does a link lead back?", folder);
    hone_status status = hone_dir_list(folder, &names, &count);
    if (status) return status;
    w->depth++;
    for (int64_t i = 0; i < count; i++) {
        bool inner;
        int64_t size, time;
        char *path = status ? NULL : hone_path_join(folder, names[i]);
        if (!status) status = path ? hone_file_about(path, &inner, &size, &time) : HONE_FAILED;
        if (!status && names[i][0] != '.' && inner) status = add_folder(w, path);
        else if (!status && names[i][0] != '.' && is_known(w, path)) status = add_file(w, path, size, time);
        else if (!status) {
            if (w->inputs->passed_over++ == 0 && !(w->inputs->passed_example = hone_strdup(path))) status = HONE_FAILED;
        }
        hone_free(path);
        hone_free(names[i]);
    }
    hone_free(names);
    w->depth--;
    return status;
}

static hone_status add_operand(walk *w, const char *operand);

static hone_status add_list(walk *w, const char *list)
{
    hone_line_reader lines;
    char *line;
    size_t size;
    if (w->depth > 8) return hone_fail("@%s: lists within lists more than 8 deep", list);
    w->depth++;
    hone_status status = hone_line_reader_open(&lines, list);
    if (status) return status;
    while (!(status = hone_line_reader_next(&lines, &line, &size)) && line) {
        if (size && line[size - 1] == '\r') line[--size] = 0;
        if (!size) continue;
        if ((status = add_operand(w, line))) {
            hone_fail_context("%s:%lld", list, (long long)lines.number);
            break;
        }
    }
    hone_line_reader_close(&lines);
    w->depth--;
    return status;
}

static hone_status add_pattern(walk *w, const char *pattern)
{
    glob_t found;
    int code = glob(pattern, 0, NULL, &found);
    if (code == GLOB_NOMATCH) return hone_fail("%s: no file fits this pattern", pattern);
    if (code) return hone_fail("%s: the pattern cannot be looked up: %s", pattern, code == GLOB_NOSPACE ? "out of memory" : "a folder cannot be read");
    hone_status status = HONE_OK;
    for (size_t i = 0; i < found.gl_pathc && !status; i++) {
        bool folder;
        int64_t size, time;
        status = hone_file_about(found.gl_pathv[i], &folder, &size, &time);
        if (!status) status = folder ? add_folder(w, found.gl_pathv[i]) : add_file(w, found.gl_pathv[i], size, time);
    }
    globfree(&found);
    return status;
}

static hone_status add_operand(walk *w, const char *operand)
{
    bool folder;
    int64_t size, time;
    if (strcmp(operand, "-") == 0) {
        if (w->inputs->standard) return hone_fail("-: standard input is named twice");
        w->inputs->standard = true;
        return add_file(w, operand, 0, 0);
    }
    if (operand[0] == '@' && operand[1]) return add_list(w, operand + 1);
    if (strpbrk(operand, "*?[") && !hone_file_exists(operand) && !hone_dir_exists(operand)) return add_pattern(w, operand);
    hone_status status = hone_file_about(operand, &folder, &size, &time);
    if (status) return status;
    int64_t before = w->inputs->count;
    if (!folder) return add_file(w, operand, size, time);
    status = add_folder(w, operand);
    if (!status && w->inputs->count == before)
        return hone_fail("%s: no file in this folder is of a known format (%lld passed over); name the files, or say --format", operand, (long long)w->inputs->passed_over);
    return status;
}

hone_status hone_inputs_open(hone_inputs *inputs, const char *const *operand, int64_t n_operands, const char *format)
{
    walk w = { .inputs = inputs, .forced = -1 };
    *inputs = (hone_inputs){ 0 };
    for (int f = 0; format && f < HONE_FORMAT_COUNT; f++) if (strcmp(format, hone_format_name[f]) == 0) w.forced = f;
    if (format && w.forced < 0) {
        const char *near = hone_nearest(format, hone_format_name, HONE_FORMAT_COUNT);
        return hone_fail("%s is not a format%s%s%s (text, jsonl, csv, tsv, markdown, html)", format, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    }
    hone_status status = n_operands < 1 ? hone_fail("no files to prepare") : HONE_OK;
    for (int64_t i = 0; i < n_operands && !status; i++) status = add_operand(&w, operand[i]);
    if (!status && inputs->count == 0) status = hone_fail("%s: it names no file", operand[0]);
    if (status) hone_inputs_close(inputs);
    return status;
}

void hone_inputs_close(hone_inputs *inputs)
{
    for (int64_t i = 0; i < inputs->count; i++) hone_free(inputs->input[i].path);
    hone_free(inputs->input);
    hone_free(inputs->passed_example);
    *inputs = (hone_inputs){ 0 };
}
