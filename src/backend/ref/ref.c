// ref.c: the portable backend: plain C, one thread, f64 accumulation. The oracle that all other backends are tested
// against, and the text to read first when asking what an op means.
//
// It has no private weight forms (a form is a copy), declines nothing, and takes workspace only for the few kernels that need
// a row of doubles (workspace_bytes below names them all).
#include "backend/ref/ref.h"
#include "base/memory.h"
#include <string.h>

enum { MOST_ELEMENTS = 256 };   // of a block

double hone_ref_f16_to_f64(uint16_t half)
{
    int exponent = half >> 10 & 31, mantissa = half & 1023;
    double magnitude = exponent == 31 ? (mantissa ? (double)NAN : (double)INFINITY)
                     : exponent == 0  ? ldexp(mantissa, -24)
                                      : ldexp(1024 + mantissa, exponent - 25);
    return half >> 15 ? -magnitude : magnitude;
}

uint16_t hone_ref_f64_to_f16(double value)
{
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    double magnitude = fabs(value);
    if (isnan(magnitude)) return sign | 0x7e00;
    if (magnitude >= 65520) return sign | 0x7c00;           // halfway between the largest half and 2^16
    int exponent;
    frexp(magnitude, &exponent);                            // magnitude < 2^exponent
    if (magnitude == 0 || exponent < -13) exponent = -13;   // subnormal halves share the spacing of the least normal ones
    int steps = (int)nearbyint(ldexp(magnitude, 11 - exponent)); // in units of the spacing 2^(exponent - 11)
    // A normal half counts 1024..2047 steps above its binade; a carry to 2048 runs into the next exponent by itself.
    return sign | (uint16_t)(steps + (exponent + 13) * 1024);
}

double hone_ref_get_blocked(const hone_operand *x, int64_t i)
{
    const hone_blocks blocks = hone_dtype_blocks(x->dtype);
    HONE_ASSERT(blocks != HONE_BLOCKS_COUNT, "dtype %d holds no real numbers", x->dtype);
    const int64_t elements = hone_blocks_about(blocks)->elements;
    float y[MOST_ELEMENTS];
    HONE_ASSERT(elements <= MOST_ELEMENTS, "blocks of %s", hone_dtype_name(x->dtype));
    hone_blocks_decode(blocks, (const uint8_t *)x->data + hone_blocks_bytes(blocks, i / elements * elements), elements, y);
    return (double)y[i % elements];
}

typedef void (*ref_kernel)(const hone_args *a);
static const ref_kernel kernel[HONE_OP_COUNT] = {
#define OP(name, ...) [HONE_OP_##name] = hone_ref_##name,
#define MOVE(...)
#include "graph/ops.def"
#undef OP
};

static hone_status ref_open(const hone_backend_options *options, void **self)
{
    (void)options; // always one thread, and no instruction set to choose
    *self = NULL;
    return HONE_OK;
}

static void ref_close(void *self) { (void)self; }

static hone_status ref_alloc(void *self, hone_space space, size_t bytes, void **pointer)
{
    (void)self, (void)space;
    *pointer = hone_pages_alloc(bytes);
    return *pointer ? HONE_OK : HONE_FAILED;
}

static void ref_release(void *self, hone_space space, void *pointer, size_t bytes)
{
    (void)self, (void)space;
    hone_pages_free(pointer, bytes);
}

static void ref_copy(void *self, void *to, const void *from, size_t bytes, int stream)
{
    (void)self, (void)stream;
    memcpy(to, from, bytes);
}

static size_t ref_form_bytes(void *self, hone_form form, hone_dtype dtype, int64_t M, int64_t K)
{
    (void)self;
    if (hone_dtype_is_fp8(dtype) && form != HONE_FORM_PLAIN) return (size_t)(M * K) * sizeof(float);     // ref.h
    return form == HONE_FORM_PLAIN ? (size_t)(M * K) * hone_dtype_bytes(dtype) : 0;
}

static bool ref_supports(void *self, const hone_args *args, const char **why_not)
{
    (void)self, (void)args, (void)why_not;
    return true;
}

static size_t ref_workspace_bytes(void *self, const hone_args *args)
{
    (void)self;
    const hone_operand *in = args->in;
    int64_t doubles = hone_dtype_is_fp8(args->attr.product) ? in[0].dim[0] * in[0].dim[1] + in[1].dim[0] * in[1].dim[1] : 0; // of fp8: both operands
    switch (args->op) {
    case HONE_OP_attention: case HONE_OP_attention8: doubles = in[1].dim[0] + in[5].dim[1] * args->attr.block; break; // scores of a row
    case HONE_OP_attention_back: doubles = 2 * args->attr.head_dim; break;                // one head's dk, dv
    case HONE_OP_linear_xent: doubles = in[1].dim[0] + in[0].dim[0] + in[0].dim[1]; break; // logits, lse, a row
    case HONE_OP_lora_linear: doubles += in[1].dim[0] * in[2].dim[1]; break;              // factors, spread
    case HONE_OP_lora_dt: doubles = in[0].dim[1] * in[1].dim[1] * args->attr.parts; break; // likewise
    case HONE_OP_pack: doubles = in[1].present ? in[0].dim[0] * in[1].dim[1] * args->attr.parts : 0; break;
    case HONE_OP_linear_logprob: doubles = in[1].dim[0]; break;                           // logits
    default: break;
    }
    return (size_t)doubles * sizeof(double);
}

static void ref_run(void *self, const hone_args *args, void *handle, int stream)
{
    (void)self, (void)handle, (void)stream;
    kernel[args->op](args);
}

const hone_backend hone_backend_ref = {
    .abi = HONE_BACKEND_ABI,
    .op_table_hash = hone_op_table_hash,
    .name = "ref",
    .folds = true,
    .open = ref_open,
    .close = ref_close,
    .alloc = ref_alloc,
    .release = ref_release,
    .copy = ref_copy,
    .form_bytes = ref_form_bytes,
    .supports = ref_supports,
    .workspace_bytes = ref_workspace_bytes,
    .run = ref_run,
};
