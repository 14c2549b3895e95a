// library.c: finds and opens libcuda and libcublasLt.
#include "backend/cuda/library.h"
#include "base/memory.h"
#include <dlfcn.h>
#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const driver_entries[] = {
#define ENTRY(name, ...) #name,
#include "backend/cuda/driver.def"
#undef ENTRY
};
static const char *const cublaslt_entries[] = {
#define ENTRY(name, ...) #name,
#include "backend/cuda/cublaslt.def"
#undef ENTRY
    "cublasLtGetVersion",    // behind the others in hone_cublaslt
};

// Fills consecutive function pointers from `to` on; a library that lacks one is closed again, else it is *kept.
static hone_status take_entries(void *library, const char *path, const char *const *names, size_t count, void *to, void **kept)
{
    for (size_t i = 0; i < count; i++) {
        void *entry = dlsym(library, names[i]);
        if (!entry) {
            dlclose(library);
            return hone_fail("%s has no %s: it is older than this hone's CUDA %d.%d; update the driver or the library", path, names[i],
                             HONE_CUDA_VERSION / 1000, HONE_CUDA_VERSION % 1000 / 10);
        }
        memcpy((char *)to + i * sizeof entry, &entry, sizeof entry);
    }
    *kept = library;
    return HONE_OK;
}

// --- the driver ----------------------------------------------------------------------------------------------------------

hone_status hone_cuda_driver_open(const hone_cuda_driver **driver)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static hone_cuda_driver found;
    hone_status status = HONE_OK;
    pthread_mutex_lock(&lock);
    if (!found.library) {
        const char *forced = getenv("HONE_LIBCUDA"), *path = forced && *forced ? forced : "libcuda.so.1";
        void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!library) status = hone_fail("no NVIDIA driver: %s; install the driver, or use backend cpu", dlerror());
        else status = take_entries(library, path, driver_entries, sizeof driver_entries / sizeof *driver_entries, (char *)&found + offsetof(hone_cuda_driver, cuInit), &found.library);
    }
    pthread_mutex_unlock(&lock);
    if (!status) *driver = &found;
    return status;
}

// --- cuBLASLt ------------------------------------------------------------------------------------------------------------

// Tries a path or a pattern of paths; the path that was opened is kept.
static void *try_open(const char pattern[512], char path[512])
{
    glob_t found;
    if (!strchr(pattern, '/')) {
        memcpy(path, pattern, strlen(pattern) + 1);     // both are of one size
        return dlopen(pattern, RTLD_NOW | RTLD_LOCAL);
    }
    void *library = NULL;
    if (glob(pattern, 0, NULL, &found)) return NULL;
    for (size_t i = 0; i < found.gl_pathc && !library; i++) {
        snprintf(path, 512, "%s", found.gl_pathv[i]);
        library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    }
    globfree(&found);
    return library;
}

// A place below a folder that an environment variable names; "" where it is not set. HONE_PYTHON names FOLDER/bin/python.
static void below(char text[512], const char *variable, const char *rest)
{
    const char *folder = getenv(variable);
    if (!folder || !*folder) { *text = 0; return; }
    const char *bin = strstr(folder, "/bin/python");
    snprintf(text, 512, "%.*s%s", (int)(bin ? (size_t)(bin - folder) : strlen(folder)), folder, rest);
}

static void *find_cublaslt(char path[512])
{
    static const char wheels[] = "/lib/python3*/site-packages/nvidia/*/lib/libcublasLt.so.13";
    char place[6][512];
    below(place[0], "HONE_CUBLASLT", "");
    below(place[1], "CUDA_HOME", "/lib64/libcublasLt.so.13");
    snprintf(place[2], sizeof place[2], "libcublasLt.so.13");
    snprintf(place[3], sizeof place[3], "/usr/local/cuda/lib64/libcublasLt.so.13");
    below(place[4], "VIRTUAL_ENV", wheels);
    below(place[5], "HONE_PYTHON", wheels);
    for (int i = 0; i < 6; i++) {
        void *library = *place[i] ? try_open(place[i], path) : NULL;
        if (library) return library;
    }
    return NULL;
}

hone_status hone_cublaslt_open(const hone_cublaslt **library)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static hone_cublaslt found;
    hone_status status = HONE_OK;
    pthread_mutex_lock(&lock);
    if (!found.library) {
        void *opened = find_cublaslt(found.path);
        if (!opened)
            status = hone_fail("libcublasLt.so.13 is neither in the system's folders, nor below CUDA_HOME, VIRTUAL_ENV or HONE_PYTHON; install CUDA 13 or "
                               "the package nvidia-cublas, or name the file by HONE_CUBLASLT");
        else status = take_entries(opened, found.path, cublaslt_entries, sizeof cublaslt_entries / sizeof *cublaslt_entries,
                                   (char *)&found + offsetof(hone_cublaslt, cublasLtCreate), &found.library);
    }
    pthread_mutex_unlock(&lock);
    if (!status) *library = &found;
    return status;
}
