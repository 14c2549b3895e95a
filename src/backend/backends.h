// backends.h: the built-in backends (backends.def). Others come by path of a shared object: see graph/backend.h.
#pragma once
#include "graph/backend.h"

#define BACKEND(name) extern const hone_backend hone_backend_##name;
#include "backend/backends.def"
#undef BACKEND
