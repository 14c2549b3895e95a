// talks.c: see talks.h.
#include "support/talks.h"
#include "base/file.h"
#include "base/memory.h"
#include "support/check.h"
#include "support/cmocka_all.h"
#include "support/folder.h"
#include "support/verb.h"
#include <string.h>

void test_put(const char *name, const char *text) { must(hone_file_write(test_path(name), text, strlen(text))); }

void test_talk_tokenizer(void)
{
    test_put("train.txt", "abc\n");
    verb_must("", (const char *const[]){ "tokenizer", "train", "--vocab", "262", "--output", test_path("tokenizer.json"), "--special", "<s>", "--special", "</s>", "--special",
                                         "<|im_start|>", "--special", "<|im_end|>", test_path("train.txt"), NULL });
    test_put("tokenizer_config.json", "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}");
    char *template = test_read(HONE_SOURCE_DIR "/tests/golden/chat/chatml.jinja");
    test_put("chat_template.jinja", template);
    hone_free(template);
}
