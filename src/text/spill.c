// spill.c: see spill.h. A part is a row of records, u32 size, i64 count, the word's bytes; a word lies in one part only, but
// as often as the table was full while it was in it.
#include "text/spill.h"
#include "base/file.h"

#include <inttypes.h>
#include <string.h>

enum { PARTS = 64, HEAD = 12, TALLIES = 4096 };

int64_t hone_words_memory(const hone_words *words)
{
    return words->count * (int64_t)(sizeof *words->word + 2 * sizeof *words->slot) + (int64_t)words->bytes.size;
}

static char *part_path(const hone_spill *spill, int part) { return hone_format("%s/part-%02d", spill->folder, part); }

hone_status hone_spill_out(hone_spill *spill, hone_words *words)
{
    hone_buffer rows = { 0 };
    hone_status status = HONE_OK;
    if (spill->rounds++ == 0) {
        status = hone_dir_remove(spill->folder); // left by a run that was killed
        if (!status) status = hone_dir_create(spill->folder);
    }
    for (int part = 0; part < PARTS && !status; part++) {
        rows.size = 0;
        for (int64_t w = 0; w < words->count && !status; w++) {
            const hone_word *word = &words->word[w];
            if (word->hash >> 58 != (uint64_t)part) continue;
            char head[HEAD];
            memcpy(head, &word->size, 4);
            memcpy(head + 4, &word->count, 8);
            status = hone_buffer_append(&rows, head, HEAD);
            if (!status) status = hone_buffer_append(&rows, words->bytes.data + word->offset, word->size);
        }
        char *path = status ? NULL : part_path(spill, part);
        if (!status) status = !path ? HONE_FAILED : rows.size ? hone_file_append(path, rows.data, rows.size) : HONE_OK;
        hone_free(path);
    }
    hone_buffer_release(&rows);
    hone_words_release(words);
    return status;
}

static hone_status read_part(const hone_spill *spill, int part, hone_words *words)
{
    char *path = part_path(spill, part), *data = NULL;
    size_t size = 0;
    hone_status status = path ? HONE_OK : HONE_FAILED;
    if (!status && hone_file_exists(path)) status = hone_file_read(path, &data, &size);
    for (size_t at = 0; at < size && !status;) {
        uint32_t length;
        int64_t count;
        if (size - at < HEAD) { status = hone_fail("%s: cut short; was it changed while the tokenizer was learned?", path); break; }
        memcpy(&length, data + at, 4);
        memcpy(&count, data + at + 4, 8);
        at += HEAD;
        if (length > size - at) status = hone_fail("%s: cut short; was it changed while the tokenizer was learned?", path);
        else status = hone_words_add(words, data + at, length, hone_words_hash(data + at, length), count);
        at += length;
    }
    hone_free(data);
    hone_free(path);
    return status;
}

// The lowest count that is kept: bytes[c] is what the words of count c take, those of TALLIES and more in the last.
static int64_t least_count(const int64_t *bytes, int64_t most_bytes)
{
    int64_t sum = 0, c = TALLIES;
    while (c > 1 && sum + bytes[c] <= most_bytes) sum += bytes[c--];
    return sum + bytes[c] <= most_bytes ? c : c + 1;
}

hone_status hone_spill_in(hone_spill *spill, int64_t most_bytes, hone_words *words)
{
    int64_t *bytes = hone_alloc(TALLIES + 1, sizeof *bytes), least = 1;
    hone_status status = bytes ? HONE_OK : HONE_FAILED;
    for (int pass = 0; pass < 2 && !status; pass++) { // how much there is, then what of it is kept
        for (int part = 0; part < PARTS && !status; part++) {
            hone_words sums = { 0 };
            status = read_part(spill, part, &sums);
            for (int64_t w = 0; w < sums.count && !status; w++) {
                const hone_word *word = &sums.word[w];
                if (pass == 0) bytes[word->count < TALLIES ? word->count : TALLIES] += (int64_t)(sizeof *word + 2 * sizeof *sums.slot) + word->size;
                else if (word->count < least) spill->dropped++;
                else status = hone_words_add(words, sums.bytes.data + word->offset, word->size, word->hash, word->count);
            }
            hone_words_release(&sums);
        }
        if (pass == 0 && !status && (least = least_count(bytes, most_bytes)) > TALLIES)
            status = hone_fail("the words of this text do not fit into %" PRId64 " MiB, even the frequent ones; give more memory", most_bytes >> 20);
    }
    hone_free(bytes);
    return status;
}

void hone_spill_release(hone_spill *spill)
{
    if (spill->rounds && spill->folder) hone_dir_remove(spill->folder);
    hone_free(spill->folder);
    *spill = (hone_spill){ 0 };
}
