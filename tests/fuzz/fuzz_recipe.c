// Recipes: any bytes are a recipe or refused in words, with any overrides behind them; and what was read comes back from the
// JSON that checkpoints keep of it. Its datasets are a mixture or refused likewise.
//
//     recipe NUL key=value NUL key=value ...
#include "fuzz/pieces.h"
#include "data/mixture.h"

static char *dump(const hone_recipe *recipe)
{
    char *text;
    FUZZ_HOLDS(hone_recipe_to_text(recipe, &text) == HONE_OK);
    return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { OVERRIDES = 6 };
    fuzz_piece rest = { data, size };
    char *text = fuzz_text(fuzz_take(&rest, false)), *override[OVERRIDES];
    int n = 0;
    while (n < OVERRIDES && rest.size) override[n++] = fuzz_text(fuzz_take(&rest, false));
    hone_recipe recipe, again;
    hone_error_clear();
    if (hone_recipe_parse(&recipe, "fuzz.yaml", text, n, override) == HONE_OK) {
        if (size % 4 == 0) { // takes twice as long as all the rest
            char *first = dump(&recipe);
            FUZZ_HOLDS(hone_recipe_parse(&again, "again", first, 0, NULL) == HONE_OK);
            char *second = dump(&again);
            FUZZ_HOLDS(strcmp(first, second) == 0);
            hone_free(first);
            hone_free(second);
            hone_recipe_release(&again);
        }
        for (int64_t i = 0; i < recipe.n_entry && i < 9; i++) hone_recipe_fail(&recipe, recipe.entry[i].key, recipe.entry[i].member, "wrong"); // points at its place
        hone_mixture mixture;
        if (hone_mixture_parse(&mixture, &recipe)) FUZZ_HOLDS(*hone_error());
        for (int64_t i = 0; i < mixture.n_sources; i++)
            for (int64_t step = 0; step < 1000; step += 99) FUZZ_HOLDS(hone_mixture_weight(&mixture.source[i], step) >= 0);
        hone_mixture_close(&mixture);
        hone_recipe_release(&recipe);
    } else {
        FUZZ_HOLDS(*hone_error());
    }
    while (n) free(override[--n]);
    free(text);
    return 0;
}
