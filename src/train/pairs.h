// pairs.h: training on pairs of replies (stage: dpo): what the model that training starts from says of them, and how pairs are counted.
//
//     reward(reply) = pref_beta (log p(reply) - log p(reply) of the starting model)      of a pair: c of the chosen, r of the rejected
//     loss          = -(1 - s) log sigma(c - r) - s log sigma(r - c),  s = dpo_label_smoothing   (Rafailov et al. 2023)
//
// The starting model's log-probabilities are the same for the whole run: program score computes them once, before the first step, and they
// stay in output_dir/reference-HASH.f32. The hash is of all that they depend on: data (ids, so tokenizer and template), weights, precision.
#pragma once
#include <stdbool.h>
#include <stdint.h>

typedef struct hone_pair_sums { int64_t count, right; double loss, chosen, rejected; } hone_pair_sums; // right: the chosen reply has the larger reward

static inline void hone_pair_sums_add(hone_pair_sums *s, double loss, double chosen, double rejected)
{
    s->count++;
    s->right += chosen > rejected;
    s->loss += loss;
    s->chosen += chosen;
    s->rejected += rejected;
}

static inline void hone_pair_sums_join(hone_pair_sums *s, const hone_pair_sums *other)
{
    s->count += other->count;
    s->right += other->right;
    s->loss += other->loss;
    s->chosen += other->chosen;
    s->rejected += other->rejected;
}
