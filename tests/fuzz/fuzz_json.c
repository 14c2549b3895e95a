// JSON, as every file of it passes base/json.h: what parses is saved and comes back the same, and each member is given in the
// type that was asked for or refused in words.
#include "fuzz/pieces.h"
#include "base/json.h"

static void ask_for(const json_t *object, const char *key, bool required)
{
    int64_t whole = 7;
    double real = 7;
    bool truth = true;
    const char *text = "";
    const json_t *value = json_object_get(object, key);
    bool absent = !value || json_is_null(value);
    hone_status status[4] = { hone_json_int(object, key, "fuzz", required, &whole), hone_json_real(object, key, "fuzz", required, &real),
                              hone_json_bool(object, key, "fuzz", required, &truth), hone_json_text(object, key, "fuzz", required, &text) };
    int given = 0;
    for (int i = 0; i < 4; i++) given += status[i] == HONE_OK;
    if (!json_is_object(object)) FUZZ_HOLDS(given == 0);
    else if (absent) FUZZ_HOLDS(given == (required ? 0 : 4) && whole == 7 && real == 7 && truth && !*text);
    else FUZZ_HOLDS(given <= (json_is_number(value) ? 2 : 1));
    if (given < 4) FUZZ_HOLDS(*hone_error());
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *value, *again, *unused;
    const char *key;
    char path[128];
    hone_error_clear();
    if (hone_json_parse("fuzz", (const char *)data, size, &value)) {
        FUZZ_HOLDS(!value && *hone_error());
        return 0;
    }
    ask_for(value, "a", false);
    ask_for(value, "a", true);
    if (json_is_object(value)) json_object_foreach(value, key, unused) ask_for(value, key, true);
    snprintf(path, sizeof path, "%s/saved.json", fuzz_folder());
    FUZZ_HOLDS(hone_json_save(path, value) == HONE_OK && hone_json_load(path, &again) == HONE_OK);
    FUZZ_HOLDS(json_equal(value, again));
    json_decref(again);
    json_decref(value);
    return 0;
}
