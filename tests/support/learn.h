// learn.h: what tests of learning a vocabulary share.
#pragma once
#include "text/train.h"

// Learns from a text of `size` bytes that is cut into parts (at most 64) at ends of lines. hone_trainer_free() it.
hone_trainer *learn(const hone_trainer_options *options, const char *text, size_t size, int parts);
// Whatever the number of threads and of parts: the same tokenizer.json to the byte. Returns the size of the vocabulary.
int64_t learn_is_the_same_at_any_threads(const hone_trainer_options *options, const char *text, size_t size);
