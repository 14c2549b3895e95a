// Filters: any bytes are judged without a crash; what masking and cutting leave is what they should.
#include "fuzz/fuzz.h"
#include "data/clean.h"
#include "data/pii.h"
#include "data/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static hone_recipe recipe;
    static hone_cleaning cleaning;
    if (!cleaning.any) {
        char *all[] = { "filters=[language, gopher_repetition, mask_pii, near_duplicates, exact_duplicates, paragraph_duplicates]", "near_bands=2", "near_rows=2", "paragraph_words=2" };
        FUZZ_HOLDS(hone_recipe_load(&recipe, NULL, 4, all) == HONE_OK && hone_cleaning_open(&cleaning, &recipe) == HONE_OK);
    }
    hone_cleaner cleaner = { 0 };
    hone_quality quality = { 0 };
    hone_buffer masked = { 0 }, marks = { 0 }, cut = { 0 }, twice = { 0 };
    hone_text text = { (const char *)data, size };
    char why[HONE_WHY_BYTES];
    bool drop = false;
    FUZZ_HOLDS(hone_quality_gopher(&quality, text, &drop, why) == HONE_OK && hone_quality_fineweb(&quality, text, &drop, why) == HONE_OK);
    int64_t found = 0;
    FUZZ_HOLDS(hone_pii_mask(text.text, size, &twice, &found) == HONE_OK && (found > 0) == (twice.size > 0));
    hone_verdict verdict;
    FUZZ_HOLDS(hone_cleaning_judge(&cleaning, &cleaner, text, &masked, &marks, &verdict) == HONE_OK);
    if (verdict.masks) text = (hone_text){ masked.data, masked.size };
    if (size && verdict.filter < 0) FUZZ_HOLDS(hone_cleaning_remember(&cleaning, &marks, &verdict) == HONE_OK);
    if (verdict.filter < 0 && verdict.cuts) {
        FUZZ_HOLDS(hone_cleaning_cut(&cleaning, text, &marks, &verdict, &cut) == HONE_OK);
        FUZZ_HOLDS(cut.size > 0 && cut.size < text.size);
    }
    FUZZ_HOLDS(hone_cleaning_note(&cleaning, &verdict, text, "here") == HONE_OK);
    char *name = calloc(size + 1, 1);
    hone_template fields;
    memcpy(name, data, size);
    if (hone_template_parse(&fields, name) == HONE_OK) hone_template_release(&fields);
    free(name);
    hone_cleaner_release(&cleaner);
    hone_quality_release(&quality);
    hone_buffer_release(&masked);
    hone_buffer_release(&marks);
    hone_buffer_release(&cut);
    hone_buffer_release(&twice);
    return 0;
}
