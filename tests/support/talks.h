// talks.h: what tests of conversations begin with.
#pragma once

void test_put(const char *name, const char *text);      // a file of the test's folder
// In the test's folder: tokenizer.json of 262 ids (bytes, four special ones, two joined), tokenizer_config.json, and ChatML as chat_template.jinja.
void test_talk_tokenizer(void);
