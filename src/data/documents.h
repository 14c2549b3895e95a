// documents.h: documents out of text files and JSONL files, in batches of bounded memory.
//
//     name.jsonl[.gz|.zst]   a line is a document: the string of its field (default "text")
//     any other name         plain text: cut at blank lines into documents of about document_bytes (0: a file is one)
//
// A cut falls behind a blank line, else behind a line's end, else behind a space; no byte is lost.
#pragma once
#include "data/source.h"
#include "base/memory.h"

typedef struct hone_document {
    size_t offset, size;        // in hone_batch_text.bytes: the text, or the raw line of a JSONL file
    int64_t file, line;         // index in the list of files; first line, from 1
    bool json;
} hone_document;

typedef struct hone_document_batch {
    hone_buffer bytes;
    hone_document *document; int64_t count, capacity;
} hone_document_batch;

typedef struct hone_document_reader {
    const char *const *path; int64_t n_paths, file;     // file: index of the current one
    size_t document_bytes;
    hone_source source; bool open, ended;               // ended: the source gave all it has
    hone_buffer pending; size_t used;                   // bytes read and not yet handed out: pending[used..]
    int64_t line;
    int64_t read_bytes;                                 // of files as they lie on disk: for progress
} hone_document_reader;

void hone_document_reader_init(hone_document_reader *reader, const char *const *path, int64_t n_paths, size_t document_bytes);
void hone_document_reader_release(hone_document_reader *reader);
// Fills the batch with documents until it holds batch_bytes. An empty batch means the end.
hone_status hone_document_reader_next(hone_document_reader *reader, hone_document_batch *batch, size_t batch_bytes);
void hone_document_batch_release(hone_document_batch *batch);
bool hone_document_is_jsonl(const char *path);

// The text of a document: of a plain one its bytes, of a JSONL line the field's string, in *copy (hone_free() it; NULL
// where the text lies in the batch). invalid: bytes that were not UTF-8, which JSON cannot hold and U+FFFD replaced.
// Errors name file and line.
hone_status hone_document_text(const hone_document_batch *batch, const hone_document *document, const char *const *path, const char *field,
                               const char **text, size_t *size, char **copy, int64_t *invalid);
