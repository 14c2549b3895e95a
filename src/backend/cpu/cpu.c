// cpu.c: the CPU backend: picks the kernels of one instruction set at open and hands nodes to them.
//
// The kernels (isa/) are pure functions of their operands and a thread count; all state here is that choice. One stream,
// host memory, nothing to prepare and nothing to wait for.
#include "backend/backends.h"
#include "backend/cpu/kernels.h"
#include "base/memory.h"
#include "graph/pass.h"
#include <stdio.h>
#include <string.h>

typedef struct cpu_backend {
    const hone_cpu_kernels *kernels;
    int threads;
} cpu_backend;

#define INSTRUCTION_SET(id, name, ...) extern const hone_cpu_kernels hone_cpu_kernels_##name;
#include "base/isa.def"
#undef INSTRUCTION_SET
const hone_cpu_kernels *const hone_cpu_kernel_tables[HONE_ISA_COUNT] = {
#define INSTRUCTION_SET(id, name, ...) [HONE_ISA_##id] = &hone_cpu_kernels_##name,
#include "base/isa.def"
#undef INSTRUCTION_SET
};

static hone_status cpu_open(const hone_backend_options *options, void **self)
{
    hone_isa isa = HONE_ISA_PORTABLE;
    int threads = options->threads;
    hone_status status = HONE_OK;
    if (options->force_isa <= 0) status = hone_cpu_isa(&isa);
    else if (options->force_isa > HONE_ISA_COUNT) return hone_fail("cpu backend: instruction set %d does not exist", options->force_isa - 1);
    else isa = (hone_isa)(options->force_isa - 1);
    if (status == HONE_OK && !hone_cpu()->has[isa])
        status = hone_fail("cpu backend: this machine (%s) lacks %s; the best it has is %s", hone_cpu()->model,
                           hone_isa_name[isa], hone_isa_name[hone_cpu()->best]);
    if (status == HONE_OK && threads <= 0) status = hone_cpu_threads(&threads);
    if (status != HONE_OK) return status;
    cpu_backend *cpu = hone_alloc(1, sizeof *cpu);
    if (!cpu) return HONE_FAILED;
    *cpu = (cpu_backend){ hone_cpu_kernel_tables[isa], threads };
    *self = cpu;
    return HONE_OK;
}

static void cpu_close(void *self) { hone_free(self); }

static hone_status cpu_alloc(void *self, hone_space space, size_t bytes, void **pointer)
{
    (void)self, (void)space; // the device's memory is the host's
    *pointer = hone_pages_alloc(bytes);
    return *pointer ? HONE_OK : HONE_FAILED;
}

static void cpu_release(void *self, hone_space space, void *pointer, size_t bytes)
{
    (void)self, (void)space;
    hone_pages_free(pointer, bytes);
}

static void cpu_copy(void *self, void *to, const void *from, size_t bytes, int stream)
{
    (void)self, (void)stream;
    memcpy(to, from, bytes);
}

static size_t cpu_form_bytes(void *self, hone_form form, hone_dtype dtype, int64_t M, int64_t K)
{
    const cpu_backend *cpu = self;
    return cpu->kernels->form_bytes ? cpu->kernels->form_bytes(form, dtype, M, K) : 0;
}

// Floats are f32, but for what may be bf16; a weight that is packed may be of 8-bit integers.
static bool takes(hone_op op, bool output, int k, const hone_operand *operand)
{
    const hone_dtype dtype = operand->dtype;
    if (dtype == HONE_f32 || dtype == HONE_i32 || dtype == HONE_u8) return true;
    if (hone_dtype_is_blocked(dtype)) return !output && hone_op_get(op)->in[k].blocked && !(hone_op_get(op)->flags & HONE_PRODUCT);
    if (dtype == HONE_bf16) return hone_may_be_half(op, output, k);
    if (dtype == (output ? hone_op_get(op)->out[k].dtype : hone_op_get(op)->in[k].dtype)) return true;  // codes of a cache
    if (dtype != HONE_int8 || operand->form == HONE_FORM_PLAIN) return false;
    return op == HONE_OP_pack ? output : !output && k == 1 && hone_may_be_half(op, output, k);
}

// The numbers that a form is of, or that a product is made in: f32 unless narrower.
static hone_dtype numbers(hone_dtype dtype) { return dtype == HONE_bf16 || dtype == HONE_int8 ? dtype : HONE_f32; }

// Forms other than plain: each is read by the one product that it is made for.
static bool takes_form(hone_op op, bool output, int k, hone_form form)
{
    if (form == HONE_FORM_PLAIN || (op == HONE_OP_pack && output)) return true;
    return !output && k == 1 && (form == HONE_FORM_PACKED_T ? op == HONE_OP_linear_dx : op == HONE_OP_linear || op == HONE_OP_lora_linear);
}

static bool operand_fits(const hone_args *args, bool output, int k, const char **why_not)
{
    static _Thread_local char message[160];
    const hone_operand *operand = output ? &args->out[k] : &args->in[k];
    const hone_op_info *info = hone_op_get(args->op);
    // A packed form is of the numbers that the product is made in.
    const bool packed = !output && operand->form != HONE_FORM_PLAIN;
    const bool other_numbers = packed && numbers(operand->dtype) != numbers(args->attr.product);
    if (operand->present && (other_numbers || !takes_form(args->op, output, k, operand->form))) {
        snprintf(message, sizeof message, "the cpu backend's %s takes no form %d of %s", info->name, (int)operand->form,
                 output ? info->out[k].name : info->in[k].name);
        *why_not = message;
        return false;
    }
    if (!operand->present || takes(args->op, output, k, operand)) return true;
    snprintf(message, sizeof message, "the cpu backend's %s takes no %s as %s", info->name, hone_dtype_name(operand->dtype),
             output ? info->out[k].name : info->in[k].name);
    *why_not = message;
    return false;
}

static bool is_of_f16(const hone_args *args, const hone_op_info *info)
{
    bool any = args->attr.product == HONE_f16 && info->flags & HONE_PRODUCT;
    for (int k = 0; k < info->n_in; k++) any |= args->in[k].present && args->in[k].dtype == HONE_f16;
    for (int k = 0; k < info->n_out; k++) any |= args->out[k].present && args->out[k].dtype == HONE_f16;
    return any;
}

static bool cpu_supports(void *self, const hone_args *args, const char **why_not)
{
    const cpu_backend *cpu = self;
    const hone_op_info *info = hone_op_get(args->op);
    if (!cpu->kernels->op[args->op].run) {
        *why_not = "the cpu backend has no such kernel";
        return false;
    }
    if (is_of_f16(args, info)) {
        *why_not = "the cpu backend has no f16; use bf16, int8, auto or f32, or backend cuda";
        return false;
    }
    if (hone_dtype_is_fp8(args->attr.product) || (args->op == HONE_OP_pack && hone_dtype_is_fp8(args->attr.dtype))) {
        *why_not = "the cpu backend makes no products in fp8";
        return false;
    }
    for (int k = 0; k < info->n_in; k++)
        if (!operand_fits(args, false, k, why_not)) return false;
    for (int k = 0; k < info->n_out; k++)
        if (!operand_fits(args, true, k, why_not)) return false;
    return true;
}

static size_t cpu_workspace_bytes(void *self, const hone_args *args)
{
    const cpu_backend *cpu = self;
    const hone_cpu_kernel *kernel = &cpu->kernels->op[args->op];
    return kernel->workspace ? kernel->workspace(args, cpu->threads) : 0;
}

static void cpu_run(void *self, const hone_args *args, void *handle, int stream)
{
    const cpu_backend *cpu = self;
    (void)handle, (void)stream;
    cpu->kernels->op[args->op].run(args, cpu->threads);
}

const hone_backend hone_backend_cpu = {
    .abi = HONE_BACKEND_ABI,
    .op_table_hash = hone_op_table_hash,
    .name = "cpu",
    .folds = true,
    .open = cpu_open,
    .close = cpu_close,
    .alloc = cpu_alloc,
    .release = cpu_release,
    .copy = cpu_copy,
    .form_bytes = cpu_form_bytes,
    .supports = cpu_supports,
    .workspace_bytes = cpu_workspace_bytes,
    .run = cpu_run,
};
