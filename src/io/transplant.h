// transplant.h: a model's folder with more rows in its vocabulary.
#pragma once
#include "text/tokenizer.h"

// Writes `output` (where the new tokenizer's files lie already): the model of `folder` with `rows` rows of embeddings and
// head. Each token from old's size on gets the mean of the rows of the old ids that its text had; every other byte of every
// tensor stays as it was. config.json says the new size; generation_config.json and chat_template.jinja are copied.
hone_status hone_hf_transplant(const char *folder, const char *output, const hone_tokenizer *old, const hone_tokenizer *extended);
