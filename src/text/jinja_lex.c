// jinja_lex.c: a template's text to tokens, with Jinja's rules of white space under trim_blocks and lstrip_blocks:
//
//     {%- -%}, {{- -}}, {#- -#}   strip all white space on that side
//     {% ... %} and {# #}         alone on a line's beginning: the blanks before it go; the line break behind it goes
//     {%+ +%}                     switch that off
//
// One line break at the end of the whole template goes; \r\n and \r count as \n.
#include "text/jinja_parts.h"
#include "text/parts.h"

#include <errno.h>
#include <string.h>

typedef struct {
    hone_jinja *jinja;
    char *text; size_t size, at;    // normalised
    int line;
    bool line_start;                // what was last taken ended with a line break
    hone_jtoken *token; int64_t count, capacity;
} lexer;

static hone_status fail_at(const lexer *l, int line, const char *message) { return hone_fail("%s: line %d: %s", l->jinja->where, line, message); }

static hone_status add(lexer *l, hone_jtoken_kind kind, int line, const char *text, size_t size)
{
    if (hone_grow(&l->token, l->count, &l->capacity, sizeof *l->token)) return HONE_FAILED;
    const char *copy = hone_room_text(&l->jinja->room, text, size);
    l->token[l->count++] = (hone_jtoken){ .kind = kind, .line = line, .text = copy, .size = size };
    return copy ? HONE_OK : HONE_FAILED;
}

static bool is_space_at(const char *text, size_t size, size_t at, size_t *length)
{
    int n;
    int32_t code = hone_utf8_next(text + at, size - at, &n);
    *length = (size_t)n;
    return hone_char_is_space(code) || (code >= 0x1c && code <= 0x1f);
}

static void move(lexer *l, size_t to)
{
    for (; l->at < to; l->at++) l->line += l->text[l->at] == '\n';
    l->line_start = to > 0 && l->text[to - 1] == '\n';
}

static size_t behind_space(const lexer *l, size_t at)
{
    size_t n;
    while (at < l->size && is_space_at(l->text, l->size, at, &n)) at += n;
    return at;
}

static size_t without_space(const char *text, size_t size) // what is left of it
{
    for (size_t kept = size, n; size > 0; size = kept) {
        do kept--; while (kept > 0 && ((uint8_t)text[kept] & 0xc0) == 0x80);
        if (!is_space_at(text, size, kept, &n) || kept + n != size) break;
    }
    return size;
}

// Text before a tag: how much of it stays.
static size_t keep(const lexer *l, size_t from, size_t to, char sign, bool variable)
{
    const char *text = l->text + from;
    size_t size = to - from, n;
    if (sign == '-') return without_space(text, size);
    if (sign == '+' || variable) return size;
    size_t line = size;
    while (line > 0 && text[line - 1] != '\n') line--;
    if (line == 0 && !l->line_start) return size;
    for (size_t at = line; at < size; at += n) if (!is_space_at(text, size, at, &n)) return size;
    return line;
}

static bool looking_at(const lexer *l, size_t at, const char *what) { return l->size - at >= strlen(what) && memcmp(l->text + at, what, strlen(what)) == 0; }

// The end of a tag at `at`: its mark ('%' or '#' or '}') with signs; *behind what it takes, a line break too where `trim`. False: there is
// none here.
static bool tag_end(const lexer *l, size_t at, char mark, bool trim, size_t *behind)
{
    char sign = at < l->size && (l->text[at] == '-' || (l->text[at] == '+' && mark != '}')) ? l->text[at] : 0;
    const char close[3] = { mark, '}', 0 };
    if (!looking_at(l, at + (sign != 0), close)) return false;
    *behind = at + (sign != 0) + 2;
    if (sign == '-') *behind = behind_space(l, *behind);
    else if (!sign && trim && *behind < l->size && l->text[*behind] == '\n') ++*behind;
    return true;
}

// {% raw %} ... {% endraw %}: at the word. *behind: behind `%}` of it; false: the word is another.
static bool raw_tag(const lexer *l, size_t at, const char *word, bool trim, size_t *behind)
{
    at = behind_space(l, at);
    if (!looking_at(l, at, word)) return false;
    return tag_end(l, behind_space(l, at + strlen(word)), '%', trim, behind);
}

static hone_status take_raw(lexer *l, size_t from)
{
    int line = l->line;
    move(l, from);
    for (size_t at = from; at + 1 < l->size; at++) {
        size_t behind;
        if (l->text[at] != '{' || l->text[at + 1] != '%') continue;
        char sign = l->text[at + 2] == '-' || l->text[at + 2] == '+' ? l->text[at + 2] : 0;
        if (!raw_tag(l, at + 2 + (sign != 0), "endraw", true, &behind)) continue;
        hone_status status = add(l, HONE_T_DATA, line, l->text + from, keep(l, from, at, sign, false));
        move(l, behind);
        return status;
    }
    return fail_at(l, line, "{% raw %} without its {% endraw %}");
}

static hone_status take_comment(lexer *l, size_t from)
{
    for (size_t at = from, behind; at < l->size; at++)
        if (tag_end(l, at, '#', true, &behind)) {
            move(l, behind);
            return HONE_OK;
        }
    return fail_at(l, l->line, "a comment {# without its #}");
}

// --- inside tags

static bool is_name_char(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (uint8_t)c >= 0x80; }

static hone_status append_code(hone_buffer *out, const lexer *l, size_t *at, int digits)
{
    uint32_t code = 0;
    for (int i = 0; i < digits; i++, ++*at) {
        char c = *at < l->size ? l->text[*at] : 0;
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0) return fail_at(l, l->line, "a \\x, \\u or \\U in a text wants 2, 4 or 8 hexadecimal digits");
        code = code << 4 | (uint32_t)digit;
    }
    if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) return fail_at(l, l->line, "a \\u in a text names no character");
    return hone_char_append(out, (int32_t)code);
}

static hone_status take_escape(const lexer *l, size_t *at, hone_buffer *out)
{
    static const char letter[] = "ntr\\'\"abfv", meant[] = "\n\t\r\\'\"\a\b\f\v";
    char c = l->text[*at];
    const char *known = c ? strchr(letter, c) : NULL;
    if (known) {
        ++*at;
        return hone_buffer_append(out, &meant[known - letter], 1);
    }
    if (c == 'x' || c == 'u' || c == 'U') {
        ++*at;
        return append_code(out, l, at, c == 'x' ? 2 : c == 'u' ? 4 : 8);
    }
    if (c >= '0' && c <= '7') {
        int32_t code = 0;
        for (int i = 0; i < 3 && *at < l->size && l->text[*at] >= '0' && l->text[*at] <= '7'; i++, ++*at) code = code * 8 + (l->text[*at] - '0');
        return hone_char_append(out, code);
    }
    ++*at;
    return c == '\n' ? HONE_OK : hone_buffer_print(out, "\\%c", c);
}

static hone_status take_text(lexer *l)
{
    char quote = l->text[l->at];
    int line = l->line;
    hone_buffer text = { 0 };
    hone_status status = HONE_OK;
    size_t at = l->at + 1;
    while (at < l->size && l->text[at] != quote && !status) {
        if (l->text[at] == '\\' && at + 1 < l->size) {
            at++;
            status = take_escape(l, &at, &text);
        } else status = hone_buffer_append(&text, &l->text[at++], 1);
    }
    if (!status && at >= l->size) status = fail_at(l, line, "a text without its closing quote");
    if (!status) status = add(l, HONE_T_TEXT, line, text.data, text.size);
    if (!status) move(l, at + 1);
    hone_buffer_release(&text);
    return status;
}

static size_t digits_from(const lexer *l, size_t at)
{
    while (at < l->size && ((l->text[at] >= '0' && l->text[at] <= '9') || (l->text[at] == '_' && at + 1 < l->size && l->text[at + 1] >= '0' && l->text[at + 1] <= '9'))) at++;
    return at;
}

static hone_status take_number(lexer *l)
{
    char digits[64], *end;
    size_t at = l->at, n = 0;
    int base = l->text[at] == '0' && at + 1 < l->size ? (l->text[at + 1] | 32) == 'x' ? 16 : (l->text[at + 1] | 32) == 'o' ? 8 : (l->text[at + 1] | 32) == 'b' ? 2 : 10 : 10;
    size_t first = base == 10 ? at : at + 2;
    bool real = false, behind_dot = at > 0 && l->text[at - 1] == '.';
    if (base == 10) {
        at = digits_from(l, at);
        size_t more = at + 1 < l->size && l->text[at] == '.' && !behind_dot ? digits_from(l, at + 1) : at;
        if (more > at + 1) { real = true; at = more; }
        more = at < l->size && (l->text[at] | 32) == 'e' && !behind_dot ? at + 1 : at;
        if (more > at && more < l->size && (l->text[more] == '+' || l->text[more] == '-')) more++;
        if (more > at && digits_from(l, more) > more) { real = true; at = digits_from(l, more); }
    } else for (at = first; at < l->size && is_name_char(l->text[at]);) at++;
    for (size_t i = first; i < at && n < sizeof digits - 1; i++) if (l->text[i] != '_') digits[n++] = l->text[i];
    digits[n] = 0;
    if (add(l, real ? HONE_T_REAL : HONE_T_INT, l->line, l->text + l->at, at - l->at)) return HONE_FAILED;
    hone_jtoken *token = &l->token[l->count - 1];
    errno = 0;
    if (real) token->real = strtod(digits, &end);
    else token->whole = strtoll(digits, &end, base);
    if (n == 0 || n == sizeof digits - 1 || *end || (errno && !real)) return fail_at(l, l->line, "a number that is too long or none; whole numbers have 64 bits");
    move(l, at);
    return HONE_OK;
}

// Tokens up to the end of the tag, which is `mark` and a brace.
static hone_status take_tag(lexer *l, char mark, hone_jtoken_kind end_kind)
{
    char open[HONE_JINJA_DEPTH];
    int depth = 0, first_line = l->line;
    for (size_t behind;;) {
        move(l, behind_space(l, l->at));
        if (l->at >= l->size) return fail_at(l, first_line, mark == '%' ? "{% without its %}" : "{{ without its }}");
        if (depth == 0 && tag_end(l, l->at, mark, mark == '%', &behind)) {
            hone_status status = add(l, end_kind, l->line, "", 0);
            move(l, behind);
            return status;
        }
        char c = l->text[l->at];
        hone_status status = HONE_OK;
        if (c == '\'' || c == '"') status = take_text(l);
        else if (c >= '0' && c <= '9') status = take_number(l);
        else if (is_name_char(c)) {
            size_t to = l->at;
            while (to < l->size && is_name_char(l->text[to])) to++;
            status = add(l, HONE_T_NAME, l->line, l->text + l->at, to - l->at);
            move(l, to);
        } else {
            static const char *const operators[] = { "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", "," };
            size_t i = 0, n = sizeof operators / sizeof *operators;
            while (i < n && !looking_at(l, l->at, operators[i])) i++;
            if (i == n) return hone_fail("%s: line %d: the character %c has no meaning in a tag", l->jinja->where, l->line, c);
            if (strchr("([{", c)) {
                if (depth == HONE_JINJA_DEPTH) return fail_at(l, l->line, "brackets are nested too deep");
                open[depth++] = c == '(' ? ')' : c == '[' ? ']' : '}';
            } else if (strchr(")]}", c) && (depth == 0 || open[--depth] != c)) return hone_fail("%s: line %d: a %c without its opening bracket", l->jinja->where, l->line, c);
            status = add(l, HONE_T_OP, l->line, operators[i], strlen(operators[i]));
            move(l, l->at + strlen(operators[i]));
        }
        if (status) return status;
    }
}

static hone_status take_all(lexer *l)
{
    while (l->at < l->size) {
        size_t to = l->at, behind;
        while (to + 1 < l->size && !(l->text[to] == '{' && strchr("%{#", l->text[to + 1]) && l->text[to + 1])) to++;
        if (to + 1 >= l->size) {
            hone_status status = add(l, HONE_T_DATA, l->line, l->text + l->at, l->size - l->at);
            move(l, l->size);
            return status;
        }
        char mark = l->text[to + 1], sign = to + 2 < l->size && (l->text[to + 2] == '-' || l->text[to + 2] == '+') ? l->text[to + 2] : 0;
        size_t kept = keep(l, l->at, to, sign, mark == '{');
        if (kept && add(l, HONE_T_DATA, l->line, l->text + l->at, kept)) return HONE_FAILED;
        size_t inside = to + 2 + (sign != 0);
        move(l, to);
        hone_status status;
        if (mark == '#') { move(l, inside); status = take_comment(l, inside); }
        else if (mark == '%' && raw_tag(l, inside, "raw", false, &behind)) { move(l, inside); status = take_raw(l, behind); }
        else {
            status = add(l, mark == '%' ? HONE_T_BLOCK : HONE_T_PRINT, l->line, "", 0);
            move(l, inside);
            if (!status) status = take_tag(l, mark == '%' ? '%' : '}', mark == '%' ? HONE_T_BLOCK_END : HONE_T_PRINT_END);
        }
        if (status) return status;
    }
    return HONE_OK;
}

hone_status hone_jinja_lex(hone_jinja *jinja, const char *text, size_t size, hone_jtoken **tokens, int64_t *count)
{
    lexer l = { .jinja = jinja, .line = 1, .line_start = true };
    *tokens = NULL;
    if (hone_utf8_valid(text, size) < size) return hone_fail("%s: the template is not valid UTF-8", jinja->where);
    if (!(l.text = hone_room_text(&jinja->room, text, size))) return HONE_FAILED;
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\r' && i + 1 < size && text[i + 1] == '\n') continue;
        l.text[l.size++] = text[i] == '\r' ? '\n' : text[i];
    }
    if (l.size && l.text[l.size - 1] == '\n') l.size--;
    l.text[l.size] = 0;
    hone_status status = take_all(&l);
    if (!status) status = add(&l, HONE_T_END, l.line, "", 0);
    if (status) { hone_free(l.token); return status; }
    *tokens = l.token;
    *count = l.count;
    return HONE_OK;
}
