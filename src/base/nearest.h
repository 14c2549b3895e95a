// nearest.h: "did you mean ...": the known name that a mistyped one probably meant.
#pragma once

// The nearest of names[0..count) by edits (insert, drop, change, swap neighbours), NULL if none is near enough to offer.
const char *hone_nearest(const char *word, const char *const *names, int count);
