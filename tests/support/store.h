// store.h: a model's persistent tensors in plain memory, for tests that need places but no session.
#pragma once
#include "model/decoder.h"

typedef struct test_store {
    hone_graph *graph;
    hone_model model;
    float **place;                    // (n_tensor,) of storages with class param or moment
} test_store;

// Declares the model of `config`; trained: with gradients and AdamW's moments.
void test_store_open(test_store *store, const hone_config *config, bool trained);
void test_store_close(test_store *store);
void *test_store_place(void *store, hone_tid id);      // hone_place_fn; views too
void test_store_fill(test_store *store, uint64_t seed);  // every element of parameters and moments differs
void test_store_zero(test_store *store);
bool test_store_equal(test_store *a, test_store *b);   // bit by bit

// A small model of each family, odd sizes; tied or not.
hone_config test_family_config(const char *model_type, bool tied);
