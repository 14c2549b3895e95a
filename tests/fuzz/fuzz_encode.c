// Any bytes through small tokenizers of every model; the byte-level one must give them back. The first byte chooses.
#include "fuzz/use_tokenizer.h"

#define BYTE_LEVEL(more) "{\"type\": \"ByteLevel\", \"add_prefix_space\": false" more "}"
#define SPLIT(pattern) "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": {\"Regex\": \"" pattern "\"}, \"behavior\": \"Isolated\", \"invert\": false}, " BYTE_LEVEL(", \"use_regex\": false") "]}"
#define O200K "[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]*[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?" \
              "|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?[\\\\p{Lu}\\\\p{Lt}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]+[\\\\p{Ll}\\\\p{Lm}\\\\p{Lo}\\\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?" \
              "|\\\\p{N}{1,3}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n/]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define PIECES "[[\"<unk>\", 0], [\"\xe2\x96\x81\", -2.5], [\"a\", -3], [\"b\", -3.5], [\"ab\", -4], [\"\xe2\x96\x81" "ab\", -5], [\"\xc3\xa9\", -6], [\"<0xC3>\", -9], [\"<0xFF>\", -9]]"

static const char *const sources[] = { // %s: the 256 bytes and a few merges of them
    "{\"pre_tokenizer\": " BYTE_LEVEL("") ", \"decoder\": " BYTE_LEVEL("") ", \"model\": {\"type\": \"BPE\", %s}}",
    "{\"pre_tokenizer\": " SPLIT(O200K) ", \"decoder\": " BYTE_LEVEL("") ", \"model\": {\"type\": \"BPE\", %s}}",
    "{\"normalizer\": {\"type\": \"NFKC\"}, \"pre_tokenizer\": {\"type\": \"Metaspace\"}, \"decoder\": {\"type\": \"Metaspace\"}, \"model\": {\"type\": \"Unigram\", \"unk_id\": 0, \"vocab\": " PIECES "}}",
    "{\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": \"\xe2\x96\x81\"}, {\"type\": \"Replace\", \"pattern\": {\"Regex\": \" +\"}, \"content\": \"\xe2\x96\x81\"}]},"
        "\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}]}, \"model\": {\"type\": \"Unigram\", \"unk_id\": 0, \"byte_fallback\": true, \"vocab\": " PIECES "}}",
    "{\"normalizer\": {\"type\": \"BertNormalizer\"}, \"pre_tokenizer\": {\"type\": \"BertPreTokenizer\"}, \"decoder\": {\"type\": \"WordPiece\"}, \"model\": {\"type\": \"WordPiece\", \"unk_token\": \"[UNK]\","
        "\"vocab\": {\"[UNK]\": 0, \"a\": 1, \"##a\": 2, \"##b\": 3, \".\": 4, \"ab\": 5, \"##ab\": 6, \"'\": 7, \"s\": 8}}}",
    "{\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFD\"}, {\"type\": \"StripAccents\"}, {\"type\": \"Lowercase\"}, {\"type\": \"Strip\"}]}, \"pre_tokenizer\": {\"type\": \"Sequence\", "
        "\"pretokenizers\": [{\"type\": \"Whitespace\"}, {\"type\": \"Digits\"}, {\"type\": \"Punctuation\", \"behavior\": \"MergedWithNext\"}, " BYTE_LEVEL("") "]}, \"model\": {\"type\": \"BPE\", %s}}",
};
enum { SOURCES = sizeof sources / sizeof *sources };

static void write_bytes(hone_buffer *out)
{
    FUZZ_HOLDS(hone_buffer_print(out, "\"vocab\": {") == HONE_OK);
    for (int b = 0; b < 256; b++) {
        char c[3] = { 0 };
        hone_byte_to_char((uint8_t)b, c);
        FUZZ_HOLDS(hone_buffer_print(out, "\"%s%s\": %d, ", b == '"' || b == '\\' ? "\\" : "", c, b) == HONE_OK);
    }
    FUZZ_HOLDS(hone_buffer_print(out, "\"ab\": 256, \"abab\": 257, \"\xc4\xa0" "a\": 258, \"\xc4\xa0\xc4\xa0\": 259}, \"merges\": [\"a b\", \"ab ab\", \"\xc4\xa0 a\", \"\xc4\xa0 \xc4\xa0\"]") == HONE_OK);
}

static hone_tokenizer *load(int which)
{
    hone_buffer text = { 0 };
    hone_tokenizer *tokenizer;
    const char *gap = strstr(sources[which], "%s");
    size_t first = gap ? (size_t)(gap - sources[which]) : strlen(sources[which]);
    FUZZ_HOLDS(hone_buffer_append(&text, sources[which], first) == HONE_OK);
    if (gap) write_bytes(&text);
    if (gap) FUZZ_HOLDS(hone_buffer_append(&text, gap + 2, strlen(gap + 2)) == HONE_OK);
    FUZZ_HOLDS(hone_tokenizer_parse("built in", text.data, text.size, &tokenizer) == HONE_OK);
    hone_buffer_release(&text);
    return tokenizer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static hone_tokenizer *tokenizer[SOURCES]; // kept: their caches are part of what is tested
    for (int i = 0; i < SOURCES; i++)
        if (!tokenizer[i]) tokenizer[i] = load(i);
    if (size == 0) return 0;
    int which = data[0] % SOURCES;
    const char *text = (const char *)data + 1;
    use_tokenizer(tokenizer[which], text, size - 1);
    if (which > 1) return 0;
    hone_ids ids = { 0 };
    hone_buffer back = { 0 };
    FUZZ_HOLDS(hone_tokenizer_encode(tokenizer[which], text, size - 1, 0, &ids) == HONE_OK);
    FUZZ_HOLDS(hone_tokenizer_decode(tokenizer[which], ids.data, ids.count, false, &back) == HONE_OK);
    FUZZ_HOLDS(back.size == size - 1 && (size == 1 || memcmp(back.data, text, size - 1) == 0));
    hone_free(ids.data);
    hone_buffer_release(&back);
    return 0;
}
