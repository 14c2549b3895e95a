// cmd_completion.c: hone completion: a script for bash, zsh or fish, made from what each --help says and from the key table.
#include "base/memory.h"
#include "cli/describe.h"
#include "cli/verbs.h"
#include "recipe/recipe.h"
#include <stdio.h>
#include <string.h>

// What completes the value of an option: the words of "a|b|c", or files where its name is that of one.
static bool has_choices(const hone_cli_option_text *o) { return o->value_name && strchr(o->value_name, '|') && !strchr(o->value_name, ' '); }

static bool is_file(const char *value_name)
{
    static const char *const names[] = { "PATH", "FILE", "DIR", "FOLDER", "MODEL", "DATA", "RUN" };
    for (size_t i = 0; value_name && i < sizeof names / sizeof *names; i++)
        if (strstr(value_name, names[i])) return true;
    return false;
}

static bool takes_keys(const hone_cli_text *t) { return strstr(t->operands, "key=value") != NULL; }
static bool begins_verb(const hone_cli_text *text, int i) { return i == 0 || strcmp(text[i].verb, text[i - 1].verb) != 0; }

static void print_escaped(const char *text, const char *what, const char *before, const char *after)
{
    for (; *text; text++)
        if (strchr(what, *text)) printf("%s%c%s", before, *text, after);
        else putchar(*text);
}

// The words of each verb that has some, as branches of a case.
static void print_word_cases(const hone_cli_text *text, int count, const char *before, void (*print_word)(const hone_cli_text *), const char *after)
{
    for (int i = 0; i < count; i++) {
        if (!text[i].word) continue;
        if (begins_verb(text, i)) printf("    %s) %s", text[i].verb, before);
        print_word(&text[i]);
        if (i + 1 == count || begins_verb(text, i + 1)) printf("%s ;;\n", after);
    }
}

static void print_choices(const char *value_name)
{
    for (; *value_name; value_name++) putchar(*value_name == '|' ? ' ' : *value_name);
}

// The values of a key that has a few: enum and bool. Nothing for others.
static hone_status print_key_values(const hone_key *key, const char *before, const char *between, const char *after)
{
    hone_buffer kind = { 0 };
    if (key->type != HONE_TYPE_enum && key->type != HONE_TYPE_bool) return HONE_OK;
    hone_status status = key->type == HONE_TYPE_bool ? hone_buffer_print(&kind, "true|false") : hone_key_print_kind(key, &kind);
    if (!status) {
        printf("%s%s%s", before, key->name, between);
        print_choices(kind.data);
        printf("%s", after);
    }
    hone_buffer_release(&kind);
    return status;
}

// --- bash -------------------------------------------------------------------------------------------------------------

// "runs show", or all that begins as a verb alone does; the latter stand last.
static bool is_open(const hone_cli_text *t) { return !t->word || t->is_default; }

static void print_bash_word(const hone_cli_text *t) { printf("%s ", t->word); }

static void print_bash_case(const hone_cli_text *t)
{
    printf("    '%s %s'%s)\n        options='", t->verb, is_open(t) ? "" : t->word, is_open(t) ? "*" : "");
    for (int o = 0; o < t->options; o++) printf("--%s ", t->option[o].name);
    printf("--help'; keys=%d\n        case $prev in\n", takes_keys(t));
    for (int o = 0; o < t->options; o++) {
        const hone_cli_option_text *option = &t->option[o];
        if (option->flag) continue;
        printf("        --%s) ", option->name);
        if (has_choices(option)) {
            printf("values='");
            print_choices(option->value_name);
            printf("' ;;\n");
        } else {
            printf("%s ;;\n", is_file(option->value_name) ? "files=1" : "return");
        }
    }
    printf("        esac ;;\n");
}

static hone_status print_bash(const hone_cli_text *text, int count)
{
    hone_status status = HONE_OK;
    printf("# bash completion for hone; made by `hone completion bash`\n_hone() {\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verb=${COMP_WORDS[1]} word=${COMP_WORDS[2]} options= values= keys=0 files=0 words=\n"
           "    COMPREPLY=()\n    if [ \"$COMP_CWORD\" = 1 ]; then\n        COMPREPLY=($(compgen -W '");
    for (int i = 0; i < count; i++)
        if (begins_verb(text, i)) printf("%s ", text[i].verb);
    printf("--help --version' -- \"$cur\"))\n        return\n    fi\n    case $verb in\n");
    print_word_cases(text, count, "words='", print_bash_word, "'");
    printf("    esac\n    if [ -n \"$words\" ] && [ \"$COMP_CWORD\" = 2 ] && [ \"${cur#-}\" = \"$cur\" ]; then\n        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n        return\n    fi\n    case \"$verb $word\" in\n");
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < count; i++)
            if (is_open(&text[i]) == (pass == 1)) print_bash_case(&text[i]);
    printf("    esac\n    if [ $keys = 1 ]; then # bash cuts words at =\n        local key= typed=$cur\n"
           "        if [ \"$cur\" = = ]; then key=$prev; typed=; elif [ \"$prev\" = = ]; then key=${COMP_WORDS[COMP_CWORD-2]}; fi\n        case $key in\n");
    for (int k = 0; k < HONE_KEY_COUNT && !status; k++) status = print_key_values(&hone_key_table[k], "        ", ") values='", "' ;;\n");
    printf("        ?*) files=1 ;;\n        esac\n        [ -n \"$key\" ] && cur=$typed\n    fi\n"
           "    if [ -n \"$values\" ]; then COMPREPLY=($(compgen -W \"$values\" -- \"$cur\"))\n"
           "    elif [ $files = 0 ] && [ \"${cur#-}\" != \"$cur\" ]; then COMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
           "    else\n        COMPREPLY=($(compgen -f -- \"$cur\"))\n        compopt -o filenames 2> /dev/null\n"
           "        if [ $keys = 1 ] && [ $files = 0 ] && [ -n \"$cur\" ]; then\n            COMPREPLY+=($(compgen -S = -W '");
    for (int k = 0; k < HONE_KEY_COUNT; k++) printf("%s ", hone_key_table[k].name);
    printf("' -- \"$cur\"))\n            case ${COMPREPLY[0]} in *=) compopt -o nospace 2> /dev/null ;; esac\n        fi\n    fi\n}\ncomplete -F _hone hone\n");
    return status;
}

// --- zsh --------------------------------------------------------------------------------------------------------------

static void print_zsh_text(const char *text)
{
    for (; *text; text++)
        if (*text == '\'') printf("'\\''");
        else if (strchr("[]:\\", *text)) printf("\\%c", *text);
        else putchar(*text);
}

// One of the list that _describe shows.
static void print_zsh_item(const char *name, const char *what)
{
    printf("\n            '%s:", name);
    print_escaped(what, "'", "'\\", "'");
    printf("'");
}

static void print_zsh_word(const hone_cli_text *t) { print_zsh_item(t->word, t->word_what); }

static void print_zsh_case(const hone_cli_text *t)
{
    printf("    '%s %s'%s) _hone_from %d; _arguments '--help[print help]'", t->verb, is_open(t) ? "" : t->word, is_open(t) ? "*" : "", is_open(t) ? 1 : 2);
    for (int o = 0; o < t->options; o++) {
        const hone_cli_option_text *option = &t->option[o];
        printf(" \\\n        '--%s[", option->name);
        print_zsh_text(option->help);
        printf("]");
        if (!option->flag) {
            printf(":%s:", has_choices(option) ? "value" : option->value_name);
            if (has_choices(option)) {
                printf("(");
                print_choices(option->value_name);
                printf(")");
            } else {
                printf("%s", is_file(option->value_name) ? "_files" : " ");
            }
        }
        printf("'");
    }
    printf(" \\\n        '*:operand:%s' ;;\n", takes_keys(t) ? "_hone_recipe" : "_files");
}

static hone_status print_zsh(const hone_cli_text *text, int count)
{
    hone_status status = HONE_OK;
    printf("#compdef hone\n# zsh completion for hone; made by `hone completion zsh`\n\n"
           "_hone_from() { words=(hone \"${(@)words[$1+2,-1]}\"); (( CURRENT -= $1 )) }\n\n_hone_recipe() {\n    case $PREFIX in\n");
    for (int k = 0; k < HONE_KEY_COUNT && !status; k++) {
        if (hone_key_table[k].type != HONE_TYPE_enum && hone_key_table[k].type != HONE_TYPE_bool) continue;
        printf("    %s=*) compset -P '*='; ", hone_key_table[k].name);
        status = print_key_values(&hone_key_table[k], "compadd -X ", " ", " ;;\n");
    }
    printf("    *=*) compset -P '*='; _files ;;\n    *)\n        local -a keys=(");
    for (int k = 0; k < HONE_KEY_COUNT; k++) print_zsh_item(hone_key_table[k].name, hone_key_table[k].what);
    printf(")\n        _describe -t keys key keys -S =\n        _files ;;\n    esac\n}\n\n_hone() {\n    if (( CURRENT == 2 )); then\n        local -a verbs=(");
    for (int i = 0; i < count; i++)
        if (begins_verb(text, i)) print_zsh_item(text[i].verb, text[i].what);
    printf(")\n        _describe -t verbs verb verbs\n        return\n    fi\n    local -a second=()\n    case $words[2] in\n");
    print_word_cases(text, count, "second=(", print_zsh_word, ")");
    printf("    esac\n    if (( CURRENT == 3 && $#second )) && [[ $PREFIX != -* ]]; then\n        _describe -t words word second\n        return\n    fi\n    case \"$words[2] $words[3]\" in\n");
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < count; i++)
            if (is_open(&text[i]) == (pass == 1)) print_zsh_case(&text[i]);
    printf("    esac\n}\n\nif [ \"$funcstack[1]\" = _hone ]; then _hone \"$@\"; else compdef _hone hone; fi\n");
    return status;
}

// --- fish -------------------------------------------------------------------------------------------------------------

static void print_fish_text(const char *text)
{
    putchar('\'');
    print_escaped(text, "'\\", "\\", "");
    putchar('\'');
}

static void print_fish_option(const hone_cli_text *t, const hone_cli_option_text *o)
{
    printf("complete -c hone -n '__hone_at %s %s' -l %s", t->verb, is_open(t) ? "" : t->word, o->name);
    if (has_choices(o)) {
        printf(" -x -a '");
        print_choices(o->value_name);
        printf("'");
    } else if (!o->flag) {
        printf(is_file(o->value_name) ? " -r -F" : " -x");
    }
    printf(" -d ");
    print_fish_text(o->help);
    printf("\n");
}

static hone_status print_fish_keys(const hone_cli_text *t)
{
    hone_status status = HONE_OK;
    for (int k = 0; k < HONE_KEY_COUNT && !status; k++) {
        const hone_key *key = &hone_key_table[k];
        printf("complete -c hone -n '__hone_at %s %s' -a '%s=' -d ", t->verb, is_open(t) ? "" : t->word, key->name);
        print_fish_text(key->what);
        printf("\n");
        if (key->type != HONE_TYPE_enum && key->type != HONE_TYPE_bool) continue;
        printf("complete -c hone -n '__hone_at %s %s' -a '", t->verb, is_open(t) ? "" : t->word);
        for (int c = 0; c < HONE_CHOICE_COUNT && key->type == HONE_TYPE_enum; c++)
            if (hone_choice_of(key, (hone_choice)c)) printf("%s=%s ", key->name, hone_choice_name((hone_choice)c));
        if (key->type == HONE_TYPE_bool) printf("%s=true %s=false", key->name, key->name);
        printf("'\n");
    }
    return status;
}

static hone_status print_fish(const hone_cli_text *text, int count)
{
    hone_status status = HONE_OK;
    printf("# fish completion for hone; made by `hone completion fish`\n"
           "function __hone_at # verb [word]: they stand behind hone\n    set -l words (commandline -opc)\n"
           "    set -l last (math 1 + (count $argv))\n    set -l have $words[2..$last]\n    test \"$have\" = \"$argv\"\nend\n"
           "function __hone_first\n    test (count (commandline -opc)) -eq 1\nend\n"
           "function __hone_second\n    set -l words (commandline -opc)\n    test (count $words) -eq 2 -a \"$words[2]\" = \"$argv[1]\"\nend\n");
    for (int i = 0; i < count && !status; i++) {
        const hone_cli_text *t = &text[i];
        if (begins_verb(text, i)) {
            printf("complete -c hone -n __hone_first -f -a %s -d ", t->verb);
            print_fish_text(t->what);
            printf("\n");
        }
        if (t->word) {
            printf("complete -c hone -n '__hone_second %s' -f -a %s -d ", t->verb, t->word);
            print_fish_text(t->word_what);
            printf("\n");
        }
        for (int o = 0; o < t->options; o++) print_fish_option(t, &t->option[o]);
        if (takes_keys(t)) status = print_fish_keys(t);
    }
    return status;
}

hone_status hone_cmd_completion(int argc, char **argv)
{
    bool done;
    const hone_cli_option options[] = { { 0 } };
    const hone_cli_command command = { "completion", "bash|zsh|fish",
        "Prints a completion script: verbs, options, their values, recipe keys and theirs. `make install` puts it where each shell\n"
        "looks. Without that: bash and zsh take it from  source <(hone completion bash)  in their start file, fish from\n"
        "hone completion fish | source.", "hone completion bash > ~/.local/share/bash-completion/completions/hone", options };
    hone_status status = hone_cli_parse(&command, &argc, argv, &done);
    if (status || done) return status;
    if (argc != 1) return hone_fail_usage("completion: for which shell? bash, zsh or fish");
    hone_cli_text *text;
    int count;
    if ((status = hone_cli_collect_texts(&text, &count))) return status;
    if (!strcmp(argv[0], "bash")) status = print_bash(text, count);
    else if (!strcmp(argv[0], "zsh")) status = print_zsh(text, count);
    else if (!strcmp(argv[0], "fish")) status = print_fish(text, count);
    else status = hone_fail_usage("completion: %s: must be bash, zsh or fish", argv[0]);
    hone_cli_free_texts(text, count);
    return status;
}
