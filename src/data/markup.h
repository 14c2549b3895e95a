// markup.h: Markdown and HTML to plain text: what a reader sees, without marks, scripts and styles.
#pragma once
#include "base/memory.h"

void hone_markup_start(void);   // once, before any thread uses the others
// Append the text. Markdown: CommonMark with GitHub's tables, by libcmark-gfm. HTML: by libxml2's HTML parser; paragraphs and
// headings stand apart by a blank line, list items by "- ", cells by tabs. `where` names the document in messages.
hone_status hone_markup_markdown(const char *text, size_t size, const char *where, hone_buffer *out);
hone_status hone_markup_html(const char *text, size_t size, const char *where, hone_buffer *out);
