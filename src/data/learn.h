// learn.h: files to a tokenizer: reads them as `prepare` does and hands the texts to the trainer (text/train.h).
//
// Plain text is given line by line, with its line's end, as Hugging Face tokenizers reads files; a record or page whole.
#pragma once
#include "text/train.h"

typedef struct hone_learn_options {
    hone_trainer_options trainer;
    const char *output;             // a name that ends in .json: that file; else a folder
    const char *const *files; int64_t n_files; // as in inputs.h
    const char *text_field;
    void (*progress)(void *context, int64_t bytes, int64_t vocab); void *context; // NULL: none
} hone_learn_options;

typedef struct hone_learn_report {
    int64_t bytes, words, vocab, dropped;   // dropped: rare pieces that memory had no room for
    bool spilled;                           // counts went to disk
    double read_seconds, learn_seconds;
} hone_learn_report;

hone_status hone_learn_tokenizer(const hone_learn_options *options, hone_learn_report *report);
