// language.c: which language a text is in, by its function words: crude, fast, and enough to keep another language's pages out
// of a corpus. The language whose words make the largest share of all words is taken; below 5 % none is. Texts of fewer than
// 10 words are not judged.
#include "data/quality.h"

#include <stdio.h>
#include <string.h>

static const struct { const char *code, *words; } table[] = {
    { "en", "the of and to in is was that it he for on with as his be at by had not are but from or have an they which you were her she this" },
    { "de", "der die und in den von zu das mit sich des auf ist im dem nicht ein eine als auch es an er hat aus bei sind noch nach wird" },
    { "fr", "de la le et les des en un du une que est pour qui dans a par plus pas au sur ne se ce il sont avec elle cette mais ou" },
    { "es", "de la que el en y a los del se las por un para con no una su al lo como pero sus le ya o este porque esta entre" },
    { "it", "di e il la che in un a per è una sono del non con i si da al della le come dei nel alla ma anche lo gli più" },
    { "pt", "de a o que e do da em um para é com não uma os no se na por mais as dos como mas foi ao ele das tem à seu" },
    { "nl", "de van het een en in is dat op te zijn voor met die niet aan er om ook als dan maar bij nog wordt uit naar door hij" },
    { "pl", "i w na z do nie się to że jest o jak za po od ale przez co dla tak przy są już był czy oraz jego" },
    { "sv", "och i att det som en på är av för med till den har de inte om ett men var jag från vi så kan han hon" },
    { "ru", "и в не на что он с как это по но из у за от же все бы так его к о мы был для она вы" },
};
enum { LANGUAGES = sizeof table / sizeof *table };
const char *const hone_quality_languages[LANGUAGES + 1] = { "en", "de", "fr", "es", "it", "pt", "nl", "pl", "sv", "ru", NULL };

// The words of each language as plain hashes, made once.
static hone_keyset known[LANGUAGES], any; // any: of all, since most words are of none
static hone_status learn(void)
{
    hone_wordlist words = { 0 };
    hone_status status = HONE_OK;
    for (int l = 0; l < LANGUAGES && !status; l++) {
        status = hone_wordlist_plain(&words, table[l].words, strlen(table[l].words));
        for (int64_t i = 0; i < words.count && !status; i++) status = hone_keyset_add(&known[l], words.word[i].hash, NULL) || hone_keyset_add(&any, words.word[i].hash, NULL) ? HONE_FAILED : HONE_OK;
    }
    hone_wordlist_release(&words);
    return status;
}

hone_status hone_quality_language_open(void)
{
    return known[LANGUAGES - 1].count ? HONE_OK : learn();
}

void hone_quality_language_close(void)
{
    for (int l = 0; l < LANGUAGES; l++) hone_keyset_release(&known[l]);
    hone_keyset_release(&any);
}

hone_status hone_quality_language(hone_quality *q, hone_text t, const char *const *language, int64_t n_languages, bool *drop, char why[HONE_WHY_BYTES])
{
    if (hone_wordlist_plain(&q->plain, t.text, t.size)) return HONE_FAILED;
    if (q->plain.count < 10) return HONE_OK;
    int64_t count[LANGUAGES] = { 0 };
    int best = 0;
    for (int64_t i = 0; i < q->plain.count; i++) {
        if (!hone_keyset_has(&any, q->plain.word[i].hash)) continue;
        for (int l = 0; l < LANGUAGES; l++) count[l] += hone_keyset_has(&known[l], q->plain.word[i].hash);
    }
    for (int l = 1; l < LANGUAGES; l++) if (count[l] > count[best]) best = l;
    double part = (double)count[best] / (double)q->plain.count;
    bool wanted = false;
    for (int64_t i = 0; i < n_languages; i++) wanted |= strcmp(language[i], table[best].code) == 0;
    *drop = part < 0.05 || !wanted;
    if (*drop && part < 0.05) snprintf(why, HONE_WHY_BYTES, "%.1f %% function words of any known language; at least 5 %%", 100 * part);
    else if (*drop) snprintf(why, HONE_WHY_BYTES, "it looks like %s (%.0f %% function words)", table[best].code, 100 * part);
    return HONE_OK;
}
