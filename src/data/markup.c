// markup.c: see markup.h. The tree of an HTML page is walked without recursion: pages nest as deep as they like.
#include "data/markup.h"
#include "text/tokenizer.h"

#include <cmark-gfm.h>
#include <cmark-gfm-core-extensions.h>
#include <libxml/HTMLparser.h>
#include <limits.h>
#include <string.h>

void hone_markup_start(void)
{
    cmark_gfm_core_extensions_ensure_registered();
    xmlInitParser();
}

hone_status hone_markup_markdown(const char *text, size_t size, const char *where, hone_buffer *out)
{
    cmark_mem *memory = cmark_get_default_mem_allocator();
    cmark_parser *parser = cmark_parser_new(CMARK_OPT_VALIDATE_UTF8);
    static const char *const extensions[] = { "table", "strikethrough" };
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++) {
        cmark_syntax_extension *extension = cmark_find_syntax_extension(extensions[i]);
        if (extension) cmark_parser_attach_syntax_extension(parser, extension);
    }
    cmark_parser_feed(parser, text, size);
    cmark_node *root = cmark_parser_finish(parser);
    char *plain = root ? cmark_render_plaintext(root, CMARK_OPT_DEFAULT, 0) : NULL;
    hone_status status = plain ? hone_buffer_append(out, plain, strlen(plain)) : hone_fail("%s: the Markdown cannot be read", where);
    if (plain) memory->free(plain);
    if (root) cmark_node_free(root);
    cmark_parser_free(parser);
    return status;
}

// --- HTML

static bool is_one_of(const xmlChar *name, const char *list) // names between spaces
{
    size_t n = strlen((const char *)name);
    for (const char *p = list; (p = strstr(p, (const char *)name)); p += n)
        if (p[-1] == ' ' && p[n] == ' ') return true;
    return false;
}

static bool is_hidden(const xmlNode *node)
{
    return node->type == XML_ELEMENT_NODE && is_one_of(node->name, " script style head template noscript svg object iframe select button ");
}
static bool is_apart(const xmlNode *node) { return is_one_of(node->name, " p h1 h2 h3 h4 h5 h6 ul ol dl table blockquote pre figure section article "); }
static bool is_line(const xmlNode *node) { return is_one_of(node->name, " div li dt dd tr br hr header footer main nav aside form figcaption address caption body "); }

typedef struct { hone_buffer *out; size_t begin; int gap, pre; bool space; } page; // gap: line ends owed before the next text

static void owe(page *p, int gap) { if (p->gap < gap) p->gap = gap; }

static hone_status add_text(page *p, const char *text, size_t size)
{
    hone_status status = HONE_OK;
    for (size_t i = 0; i < size && !status;) {
        size_t word = 0;
        bool blank = !p->pre && strchr(" \t\r\n\f", text[i]) && text[i];
        if (blank) { p->space = true; i++; continue; }
        while (i + word < size && (p->pre || !(strchr(" \t\r\n\f", text[i + word]) && text[i + word]))) word++;
        bool first = p->out->size == p->begin;
        if (p->gap && !first) status = hone_buffer_append(p->out, "\n\n", (size_t)p->gap);
        else if (p->space && !first && p->out->data[p->out->size - 1] != '\t' && p->out->data[p->out->size - 1] != ' ') status = hone_buffer_append(p->out, " ", 1);
        p->gap = 0;
        p->space = false;
        if (!status) status = hone_buffer_append(p->out, text + i, word);
        i += word;
    }
    return status;
}

static hone_status enter(page *p, const xmlNode *node)
{
    if (node->type == XML_TEXT_NODE || node->type == XML_CDATA_SECTION_NODE)
        return add_text(p, (const char *)node->content, strlen((const char *)node->content));
    if (node->type != XML_ELEMENT_NODE) return HONE_OK;
    if (is_apart(node)) owe(p, 2);
    else if (is_line(node)) owe(p, 1);
    if (is_one_of(node->name, " pre ")) p->pre++;
    if (is_one_of(node->name, " li ")) {
        hone_status status = add_text(p, "-", 1);
        p->space = true;
        return status;
    }
    if (is_one_of(node->name, " td th ") && !p->gap && p->out->size > p->begin) {
        p->space = false;
        return hone_buffer_append(p->out, "\t", 1);
    }
    return HONE_OK;
}

static void leave(page *p, const xmlNode *node)
{
    if (node->type != XML_ELEMENT_NODE) return;
    if (is_apart(node)) owe(p, 2);
    else if (is_line(node)) owe(p, 1);
    if (is_one_of(node->name, " pre ")) p->pre--;
}

static hone_status walk(page *p, const xmlNode *root)
{
    hone_status status = HONE_OK;
    for (const xmlNode *node = root; node && !status;) {
        bool hidden = is_hidden(node);
        if (!hidden) status = enter(p, node);
        bool has_children = node->children && !hidden && (node->type == XML_ELEMENT_NODE || node->type == XML_HTML_DOCUMENT_NODE || node->type == XML_DOCUMENT_NODE);
        if (has_children) { node = node->children; continue; }
        while (node && node != root) {
            if (!is_hidden(node)) leave(p, node);
            if (node->next) break;
            node = node->parent;
        }
        node = node && node != root ? node->next : NULL;
    }
    return status;
}

hone_status hone_markup_html(const char *text, size_t size, const char *where, hone_buffer *out)
{
    if (size > INT_MAX) return hone_fail("%s: an HTML page of %zu bytes; at most 2 GiB can be read", where, size);
    bool utf8 = hone_utf8_valid(text, size) == size; // else what the page itself says
    htmlDocPtr tree = htmlReadMemory(text, (int)size, NULL, utf8 ? "UTF-8" : NULL,
                                     HTML_PARSE_RECOVER | HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING | HTML_PARSE_NONET | HTML_PARSE_COMPACT);
    page p = { .out = out, .begin = out->size };
    if (!tree) return HONE_OK; // nothing in it
    hone_status status = walk(&p, (const xmlNode *)tree);
    if (!status && out->size > p.begin) status = hone_buffer_append(out, "\n", 1);
    xmlFreeDoc(tree);
    return status;
}
