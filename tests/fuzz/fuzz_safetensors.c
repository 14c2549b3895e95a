// Safetensors: any bytes are a file, or a folder of files with their index, or refused; every tensor of what opens can be read.
//
//     byte 0   which of these     one file: its bytes as they are, or header NUL data, with the header's length put in front
//                                 a folder: index NUL header NUL data NUL header NUL data
#include "fuzz/pieces.h"
#include "io/safetensors.h"

static void put_file(const char *name, fuzz_piece *rest, bool last)
{
    fuzz_piece header = fuzz_take(rest, false), bytes = fuzz_take(rest, last);
    uint64_t length = header.size;
    char *file = malloc(8 + header.size + bytes.size);
    FUZZ_HOLDS(file);
    memcpy(file, &length, 8);
    if (header.size) memcpy(file + 8, header.data, header.size);
    if (bytes.size) memcpy(file + 8 + header.size, bytes.data, bytes.size);
    fuzz_file(name, file, 8 + header.size + bytes.size);
    free(file);
}

static void read_all(const hone_safetensors *set)
{
    for (int64_t i = 0; i < set->count; i++) {
        const hone_safetensor *t = &set->tensor[i];
        FUZZ_HOLDS(hone_safetensors_find(set, t->name) && *hone_safetensor_path(set, t));
        for (hone_dtype to = 0; to < HONE_DTYPE_COUNT; to++) {
            if (!hone_safetensor_converts(t, to)) continue;
            void *out = malloc((size_t)t->count * hone_dtype_bytes(to) + 1);
            FUZZ_HOLDS(out);
            hone_safetensor_read(set, t, 0, t->count, to, out);
            free(out);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char one[] = "one.safetensors", first[] = "a.safetensors", second[] = "b.safetensors", index[] = "model.safetensors.index.json";
    if (size < 1) return 0;
    char path[128];
    fuzz_piece rest = { data + 1, size - 1 };
    hone_safetensors set;
    hone_status status;
    hone_error_clear();
    snprintf(path, sizeof path, "%s/%s", fuzz_folder(), one);
    if (data[0] % 3 == 2) {
        fuzz_piece names = fuzz_take(&rest, false);
        fuzz_file(index, names.data, names.size);
        put_file(first, &rest, false);
        put_file(second, &rest, true);
        status = hone_safetensors_open_folder(&set, fuzz_folder());
    } else {
        if (data[0] % 3) put_file(one, &rest, true);
        else fuzz_file(one, rest.data, rest.size);
        status = hone_safetensors_open(&set, path);
    }
    if (status) {
        FUZZ_HOLDS(*hone_error());
        return 0;
    }
    read_all(&set);
    hone_safetensors_close(&set);
    return 0;
}
