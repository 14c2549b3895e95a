// walk.h: a program's nodes one by one, for whoever looks at what each made (inspect.c). hone_session_run() makes the same of all of them.
#pragma once
#include "graph/session.h"

const hone_program *hone_walk_program(const hone_session *session, const char *name);
// Nodes [from, to) of a program of training (it must not touch caches); to < 0: all that are left. Fails as hone_session_run().
hone_status hone_walk_nodes(hone_session *session, const char *name, int64_t from, int64_t to);
