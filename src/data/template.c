// template.c: see template.h.
#include "data/template.h"
#include <string.h>

static hone_status add_part(hone_template *t, const char *text, size_t size, bool field)
{
    if (size == 0) return HONE_OK;
    if (hone_grow(&t->part, t->count, &t->capacity, sizeof *t->part)) return HONE_FAILED;
    char *copy = hone_alloc(size + 1, 1);
    if (!copy) return HONE_FAILED;
    memcpy(copy, text, size);
    t->part[t->count++] = (hone_template_part){ copy, size, field };
    return HONE_OK;
}

static bool has_field(const hone_template *t)
{
    for (int64_t i = 0; i < t->count; i++) if (t->part[i].field) return true;
    return false;
}

// One step of a literal: appends what stands at *p and moves on.
static hone_status take_literal(const char *all, const char **p, hone_buffer *literal)
{
    char c = **p;
    int taken = 1;
    if (c == '\\' && (*p)[1]) {
        if (!strchr("nt\\", (*p)[1])) return hone_fail("template '%s': \\%c is not known; \\n, \\t and \\\\ are", all, (*p)[1]);
        c = (*p)[1] == 'n' ? '\n' : (*p)[1] == 't' ? '\t' : '\\';
        taken = 2;
    } else if ((c == '{' || c == '}') && (*p)[1] == c) taken = 2;
    else if (c == '}') return hone_fail("template '%s': a } without its {; write }} for a brace", all);
    *p += taken;
    return hone_buffer_append(literal, &c, 1);
}

hone_status hone_template_parse(hone_template *t, const char *text)
{
    hone_buffer literal = { 0 };
    hone_status status = HONE_OK;
    *t = (hone_template){ 0 };
    for (const char *p = text; *p && !status;) {
        if (*p != '{' || p[1] == '{') { status = take_literal(text, &p, &literal); continue; }
        const char *end = strchr(p, '}');
        if (!end || end == p + 1) { status = hone_fail("template '%s': %s", text, end ? "{} names no field" : "a { without its }; write {{ for a brace"); break; }
        status = add_part(t, literal.data, literal.size, false);
        literal.size = 0;
        if (!status) status = add_part(t, p + 1, (size_t)(end - p) - 1, true);
        p = end + 1;
    }
    if (!status) status = add_part(t, literal.data, literal.size, false);
    hone_buffer_release(&literal);
    if (!status && !has_field(t)) status = hone_fail("template '%s': no field in it; write {name} where a field's text shall stand", text);
    t->single = t->count == 1;
    if (status) hone_template_release(t);
    return status;
}

hone_status hone_template_field(hone_template *t, const char *name)
{
    *t = (hone_template){ .single = true };
    if (!*name) return hone_fail("the field that holds the text has no name");
    hone_status status = add_part(t, name, strlen(name), true);
    if (status) hone_template_release(t);
    return status;
}

void hone_template_release(hone_template *t)
{
    for (int64_t i = 0; i < t->count; i++) hone_free(t->part[i].text);
    hone_free(t->part);
    *t = (hone_template){ 0 };
}
