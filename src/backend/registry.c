// registry.c: backends by name (backends.def) or by path of a shared object.
//
// A plugin exports `const hone_backend hone_backend_plugin`. It was compiled against some ABI and some op table; both must be
// ours, since op numbers and operand orders come from them. A plugin stays loaded until the process ends.
#include "backend/backends.h"
#include <dlfcn.h>
#include <inttypes.h>
#include <string.h>

static const hone_backend *const built_in[] = {
#define BACKEND(name) &hone_backend_##name,
#include "backend/backends.def"
#undef BACKEND
};
static const char names[] =
#define BACKEND(name) " " #name
#include "backend/backends.def"
#undef BACKEND
    ;

static hone_status load_plugin(const char *path, const hone_backend **backend)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library) return hone_fail("%s: cannot be loaded as a backend: %s", path, dlerror());
    const hone_backend *plugin = dlsym(library, "hone_backend_plugin");
    hone_status status = HONE_OK;
    if (!plugin)
        status = hone_fail("%s: exports no hone_backend_plugin, so it is not a backend of hone", path);
    else if (plugin->abi != HONE_BACKEND_ABI)
        status = hone_fail("%s: built for backend ABI %" PRIu32 ", this hone has %d; build it again with this hone's headers",
                           path, plugin->abi, HONE_BACKEND_ABI);
    else if (plugin->op_table_hash() != hone_op_table_hash())
        status = hone_fail("%s: built with another op table (hash %016" PRIx64 ", this hone has %016" PRIx64
                           "); build it again with this hone's ops.def", path, plugin->op_table_hash(), hone_op_table_hash());
    if (status != HONE_OK) dlclose(library);
    else *backend = plugin;
    return status;
}

hone_status hone_backend_find(const char *name_or_path, const hone_backend **backend)
{
    if (strchr(name_or_path, '/')) return load_plugin(name_or_path, backend);
    for (size_t i = 0; i < sizeof built_in / sizeof *built_in; i++)
        if (!strcmp(built_in[i]->name, name_or_path)) {
            *backend = built_in[i];
            return HONE_OK;
        }
    return hone_fail("no backend is called '%s'; there are:%s; or give the path (with a '/') of a backend's shared object",
                     name_or_path, names);
}
