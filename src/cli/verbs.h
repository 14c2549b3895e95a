// verbs.h: the entry of every verb.
#pragma once
#include "base/error.h"

#define VERB(name, what) hone_status hone_cmd_##name(int argc, char **argv);
#include "cli/verbs.def"
#undef VERB
