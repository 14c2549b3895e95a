// Inputs of `hone prepare`: any bytes in any format are documents or refused, packed or not; and reading them in pieces, with a
// new reader at each document as a run has that is gone on with, gives the same documents as reading them in one go.
//
//     byte 0   format, separator or size of documents     the rest   the file
#include "fuzz/fuzz.h"
#include "data/documents.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct { hone_buffer text; hone_status status; } outcome;

static outcome read_all(const hone_document_options *options, size_t batch_bytes)
{
    outcome out = { 0 };
    hone_document_reader reader;
    hone_document_batch batch = { 0 };
    FUZZ_HOLDS(hone_document_reader_open(&reader, options, NULL) == HONE_OK);
    for (int64_t n = 0; !(out.status = hone_document_reader_next(&reader, &batch, batch_bytes)) && batch.count; n++) {
        for (int64_t d = 0; d < batch.count && !out.status; d++) {
            hone_buffer room = { 0 };
            const char *text;
            size_t size;
            int64_t invalid;
            out.status = hone_document_text(options, &batch, &batch.document[d], &room, &text, &size, &invalid);
            if (!out.status && (hone_buffer_append(&out.text, text, size) || hone_buffer_append(&out.text, "\1", 1))) abort();
            hone_buffer_release(&room);
        }
        if (out.status) break;
        if (batch_bytes > 1 || n > 20) continue; // each goes on from the file's beginning: bounded
        hone_document_position at = reader.at;
        hone_document_reader_close(&reader);
        FUZZ_HOLDS(hone_document_reader_open(&reader, options, &at) == HONE_OK);
    }
    hone_document_batch_release(&batch);
    hone_document_reader_close(&reader);
    return out;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const format[] = { "text", "jsonl", "csv", "tsv", "markdown", "html", "json" };
    if (size < 1) return 0;
    int fd = memfd_create("fuzz", 0);
    FUZZ_HOLDS(fd >= 0 && write(fd, data + 1, size - 1) == (ssize_t)(size - 1));
    char path[64];
    const char *operand = path;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    hone_inputs inputs;
    hone_template fields;
    FUZZ_HOLDS(hone_inputs_open(&inputs, &operand, 1, format[data[0] % 7]) == HONE_OK);
    FUZZ_HOLDS(hone_template_parse(&fields, data[0] & 64 ? "{a}: {text}" : "{text}") == HONE_OK);
    hone_document_options options = { &inputs, &fields, data[0] & 32 ? 7 : 0, data[0] & 16 ? "--" : NULL };
    outcome whole = read_all(&options, (size_t)1 << 30), parts = read_all(&options, 1);
    FUZZ_HOLDS(whole.status == parts.status);
    FUZZ_HOLDS(whole.status || (whole.text.size == parts.text.size && (whole.text.size == 0 || memcmp(whole.text.data, parts.text.data, whole.text.size) == 0)));
    hone_buffer_release(&whole.text);
    hone_buffer_release(&parts.text);
    hone_template_release(&fields);
    hone_inputs_close(&inputs);
    close(fd);
    return 0;
}
