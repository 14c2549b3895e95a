// documents.h: documents out of inputs (inputs.h), in batches of bounded memory. One thread reads batches, any number of
// threads take the texts out of them.
//
//     text              cut at a separator, or at blank lines into documents of about document_bytes (0: a file is one)
//     jsonl, json, csv, tsv   a record is a document: a field, or a template of fields
//     markdown, html    a file is a document: its plain text
//
// A cut by size falls behind a blank line, else behind a line's end, else behind a space; no byte is lost.
#pragma once
#include "data/inputs.h"
#include "data/record.h"
#include "data/source.h"

typedef struct hone_document {
    size_t offset, size;        // in hone_document_batch.bytes: the text, or the raw record
    int64_t file, line;         // index of the input; first line, from 1
    const hone_csv_header *header; // of CSV
} hone_document;

typedef struct hone_document_batch {
    hone_buffer bytes;
    hone_document *document; int64_t count, capacity;
} hone_document_batch;

typedef struct hone_document_options {  // borrowed; must outlive the reader
    const hone_inputs *inputs;
    const hone_template *fields;        // of records
    size_t document_bytes;              // of plain text
    const char *separator;              // of plain text: ends a document and is no part of one; NULL none
} hone_document_options;

typedef struct hone_document_position { int64_t file, offset, line; } hone_document_position; // offset: in the decompressed bytes

typedef struct hone_document_reader {
    const hone_document_options *options;
    hone_document_position at;          // of the next document
    hone_source source; bool open, ended;               // ended: the source gave all it has
    bool list; char last;                               // of JSON: the file is a list; the last byte handed out that is no blank, 0 none
    hone_buffer pending; size_t used;                   // bytes read and not yet handed out: pending[used..]
    hone_csv_header **header;                           // (inputs,) of CSV files that were begun
    uint64_t *hash;                                     // (inputs,) XXH3-64 of each file that was read to its end
    int64_t read_bytes;                                 // of files as they lie on disk: for progress
} hone_document_reader;

// position: where to begin; NULL: at the first byte. What lies before it in its file is read and passed over.
hone_status hone_document_reader_open(hone_document_reader *reader, const hone_document_options *options, const hone_document_position *position);
void hone_document_reader_close(hone_document_reader *reader);
// Fills the batch with documents until it holds batch_bytes. An empty batch means the end.
hone_status hone_document_reader_next(hone_document_reader *reader, hone_document_batch *batch, size_t batch_bytes);
void hone_document_batch_release(hone_document_batch *batch);

// The text of a document: where it lies in the batch as it is (plain text), else appended to `room`, which must not be moved
// before the text was used. invalid: bytes that are not UTF-8; those of records become U+FFFD, others are kept.
// Errors name file and line.
hone_status hone_document_text(const hone_document_options *options, const hone_document_batch *batch, const hone_document *document,
                               hone_buffer *room, const char **text, size_t *size, int64_t *invalid);
// Line, from 1, of the first byte that is not UTF-8 (0: none is).
int64_t hone_document_invalid_line(const hone_document_batch *batch, const hone_document *document);
