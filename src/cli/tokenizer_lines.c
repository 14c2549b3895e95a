// tokenizer_lines.c: hone tokenizer encode | decode: streams of JSON lines, or raw bytes. The lines that have arrived are
// worked on by all threads at once and written in their order; so a pipe that waits for an answer gets it, and a long file is
// done at full speed.
#include "base/cpu.h"
#include "base/file.h"
#include "base/json.h"
#include "base/line_reader.h"
#include "cli/args.h"
#include "cli/verbs.h"
#include "text/tokenizer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

typedef struct options { const char *path; bool encode, special, plain, raw; hone_tokenizer *tokenizer; } options;
typedef struct row { char *line; size_t size; int64_t number; hone_buffer out; hone_status status; char *message; } row;

static hone_status print_ids(const hone_ids *ids, hone_buffer *out)
{
    hone_status status = hone_buffer_append(out, "{\"ids\": [", 9);
    for (int64_t i = 0; i < ids->count && !status; i++) {
        char text[16], *at = text + sizeof text; // by hand: printf would take most of the time
        for (int32_t id = ids->data[i]; at == text + sizeof text || id; id /= 10) *--at = (char)('0' + id % 10);
        if (i) { *--at = ' '; *--at = ','; }
        status = hone_buffer_append(out, at, (size_t)(text + sizeof text - at));
    }
    return status ? status : hone_buffer_append(out, "]}\n", 3);
}

static hone_status encode_text(const options *o, const char *text, size_t size, hone_buffer *out)
{
    hone_ids ids = { 0 };
    hone_status status = hone_tokenizer_encode(o->tokenizer, text, size, (o->special ? HONE_ENCODE_SPECIAL : 0) | (o->plain ? HONE_ENCODE_PLAIN : 0), &ids);
    if (!status) status = print_ids(&ids, out);
    hone_free(ids.data);
    return status;
}

static hone_status encode_line(const options *o, const json_t *json, hone_buffer *out)
{
    const json_t *text = json_object_get(json, "text");
    if (!json_is_string(text)) return hone_fail("the record has no string \"text\"");
    return encode_text(o, json_string_value(text), json_string_length(text), out);
}

static hone_status decode_line(const options *o, const json_t *json, hone_buffer *out)
{
    const json_t *list = json_object_get(json, "ids"), *id;
    if (!json_is_array(list)) return hone_fail("the record has no list \"ids\"");
    hone_ids ids = { 0 };
    hone_buffer text = { 0 };
    hone_status status = HONE_OK;
    size_t i;
    json_array_foreach(list, i, id) {
        int64_t value = json_is_integer(id) ? json_integer_value(id) : -1;
        if (!status && value != (int32_t)value) status = hone_fail("id %zu is out of range", i);
        if (!status) status = hone_ids_append(&ids, (int32_t)value);
    }
    if (!status) status = (o->raw ? hone_tokenizer_decode : hone_tokenizer_decode_text)(o->tokenizer, ids.data, ids.count, !o->special, o->raw ? out : &text);
    if (!status && !o->raw) {
        json_t *line = json_pack("{s:o}", "text", json_stringn(text.data ? text.data : "", text.size));
        char *dump = line ? hone_json_dumps(line, 0) : NULL;
        status = dump ? hone_buffer_print(out, "%s\n", dump) : hone_fail("no memory");
        hone_free(dump);
        json_decref(line);
    }
    hone_free(ids.data);
    hone_buffer_release(&text);
    return status;
}

static void do_row(const options *o, const char *name, row *r)
{
    char where[512];
    json_t *json = NULL;
    if (r->line[strspn(r->line, " \t\r")] == 0) return;
    snprintf(where, sizeof where, "%s:%" PRId64, name, r->number);
    r->status = hone_json_parse(where, r->line, r->size, &json);
    if (!r->status && (r->status = (o->encode ? encode_line : decode_line)(o, json, &r->out))) hone_fail_context("%s", where);
    if (r->status) r->message = hone_strdup(hone_error());
    json_decref(json);
}

enum { BATCH = 4096 };

// Takes up to BATCH lines: as many as have arrived, one at least unless the text is at its end.
static hone_status take_lines(hone_line_reader *lines, row *rows, int64_t *count)
{
    hone_status status = HONE_OK;
    for (*count = 0; *count < BATCH; ++*count) {
        char *line;
        size_t size;
        bool arrived = lines->used < lines->text.size && memchr(lines->text.data + lines->used, '\n', lines->text.size - lines->used);
        if (*count && !arrived) break;
        if ((status = hone_line_reader_next(lines, &line, &size)) || !line) break;
        row *r = &rows[*count];
        r->out.size = 0;
        r->status = HONE_OK;
        r->number = lines->number;
        r->size = size;
        if (!(r->line = hone_alloc(size + 1, 1))) { status = HONE_FAILED; break; }
        memcpy(r->line, line, size);
    }
    return status;
}

// path NULL: standard input.
static hone_status each_line(const options *o, const char *path, int threads)
{
    hone_line_reader lines;
    hone_status status = hone_line_reader_open(&lines, path);
    row *rows = status ? NULL : hone_alloc(BATCH, sizeof *rows);
    int64_t count = 1;
    if (!status && !rows) status = HONE_FAILED;
    while (!status && count) {
        status = take_lines(&lines, rows, &count);
        #pragma omp parallel for schedule(dynamic, 1) num_threads(threads) if(count > 1)
        for (int64_t i = 0; i < count; i++) do_row(o, lines.name, &rows[i]);
        for (int64_t i = 0; i < count; i++) {
            row *r = &rows[i];
            if (!status && r->status) status = hone_fail("%s", r->message ? r->message : "out of memory");
            if (!status && r->out.size && fwrite(r->out.data, 1, r->out.size, stdout) != r->out.size) status = hone_fail("standard output: cannot write");
            hone_free(r->line);
            hone_free(r->message);
            r->line = r->message = NULL;
        }
        if (fflush(stdout) && !status) status = hone_fail("standard output: cannot write");
    }
    for (int64_t i = 0; rows && i < BATCH; i++) hone_buffer_release(&rows[i].out);
    hone_free(rows);
    hone_line_reader_close(&lines);
    return status;
}

// The whole of a file, or of standard input, is one text.
static hone_status encode_whole(const options *o, const char *path)
{
    hone_buffer text = { 0 }, out = { 0 };
    hone_status status = HONE_OK;
    if (path) {
        char *data = NULL;
        status = hone_file_read(path, &data, &text.size);
        text.data = data;
    } else {
        char part[65536];
        for (size_t got; !status && (got = fread(part, 1, sizeof part, stdin)) > 0;) status = hone_buffer_append(&text, part, got);
        if (ferror(stdin)) status = hone_fail("standard input: cannot read");
    }
    if (!status && (status = encode_text(o, text.data ? text.data : "", text.size, &out))) hone_fail_context("%s", path ? path : "standard input");
    if (!status && fwrite(out.data, 1, out.size, stdout) != out.size) status = hone_fail("standard output: cannot write");
    hone_free(text.data);
    hone_buffer_release(&out);
    return status;
}

static hone_status convert(int argc, char **argv, bool encode)
{
    options o = { .encode = encode };
    const hone_cli_option table[] = {
        { "tokenizer", HONE_CLI_TEXT, &o.path, "PATH", "tokenizer.json, a tiktoken or SentencePiece file, or a folder with a tokenizer (required)" },
        { "special", HONE_CLI_FLAG, &o.special, NULL, encode ? "add the tokens that the tokenizer puts around a text" : "show special tokens" },
        { "raw", HONE_CLI_FLAG, &o.raw, NULL, encode ? "each input is one text of any bytes, not JSON lines" : "write the bytes as they are, not JSON lines" },
        { encode ? "plain" : NULL, HONE_CLI_FLAG, &o.plain, NULL, "special tokens written in a text are ordinary text" },
        { 0 },
    };
    const hone_cli_command command = encode
        ? (hone_cli_command){ "tokenizer encode", "--tokenizer PATH [options] [FILE...]", "Reads JSON lines {\"text\": ...}, from standard input where no file is given, and writes {\"ids\": [...]}.",
                              "echo '{\"text\": \"Hello world\"}' | hone tokenizer encode --tokenizer tok.json", table }
        : (hone_cli_command){ "tokenizer decode", "--tokenizer PATH [options] [FILE...]", "Reads JSON lines {\"ids\": [...]}, from standard input where no file is given, and writes {\"text\": ...}.",
                              "echo '{\"ids\": [15496, 995]}' | hone tokenizer decode --tokenizer gpt2/", table };
    bool done;
    int threads;
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (!o.path) return hone_fail_usage("%s: --tokenizer PATH is missing", command.verb);
    status = hone_cpu_threads(&threads);
    if (!status) status = hone_tokenizer_load(o.path, &o.tokenizer);
    for (int i = 0; (i < argc || (i == 0 && argc == 0)) && !status; i++) {
        const char *path = argc ? argv[i] : NULL;
        status = encode && o.raw ? encode_whole(&o, path) : each_line(&o, path, threads);
    }
    hone_tokenizer_free(o.tokenizer);
    return status;
}

hone_status hone_cmd_tokenizer_encode(int argc, char **argv) { return convert(argc, argv, true); }
hone_status hone_cmd_tokenizer_decode(int argc, char **argv) { return convert(argc, argv, false); }
