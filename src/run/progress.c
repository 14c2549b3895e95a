// progress.c: see progress.h.
#include "run/progress.h"
#include "base/cpu.h"
#include "base/units.h"
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const double REDRAW_S = 0.2;
static pthread_mutex_t drawing = PTHREAD_MUTEX_INITIALIZER;   // the watchdog speaks from a thread of its own

void hone_progress_open(hone_progress *progress, FILE *out, int64_t every, double peak_flops)
{
    *progress = (hone_progress){ .out = out, .terminal = isatty(fileno(out)), .every = every, .peak_flops = peak_flops,
                                 .held_step = -1, .drawn_s = -1 };
}

static int columns_of(const hone_progress *progress)
{
    struct winsize size;
    return ioctl(fileno(progress->out), TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 0;
}

// Blanks the line; what follows starts at its beginning.
static void clear(hone_progress *progress)
{
    if (progress->drawn_columns) fprintf(progress->out, "\r%*s\r", progress->drawn_columns, "");
    progress->drawn_columns = 0;
}

static int print_row(const hone_progress *p, const hone_progress_row *row, char *text, size_t size)
{
    int n = 0;
#define ADD(...) do { if (n < (int)size) n += snprintf(text + n, size - (size_t)n, __VA_ARGS__); } while (0)
    if (row->steps > 0) {
        int width = snprintf(NULL, 0, "%lld", (long long)row->steps);
        ADD("  step %*lld/%lld  %3.0f%%", width, (long long)row->step, (long long)row->steps, floor(100 * row->done));
    } else {
        ADD("  step %5lld  %3.0f%%", (long long)row->step, floor(100 * row->done));
    }
    ADD("  loss %.3f", row->loss);
    if (row->bits_per_byte > 0) {
        ADD("  bpb %.3f", row->bits_per_byte);
        if (p->held_step >= 0) ADD(" (held out %.3f @%lld)", p->held_bpb, (long long)p->held_step);
    } else if (p->held_step >= 0) {
        ADD(" (held out %.3f @%lld)", p->held_loss, (long long)p->held_step);
    }
    ADD("  %6s tok/s  %s", hone_units_grouped((int64_t)row->tokens_per_s).s, hone_units_flops(row->flops_per_s).s);
    if (p->peak_flops > 0) ADD(" %2.0f%% of peak", 100 * row->flops_per_s / p->peak_flops);
    ADD("  %s  left %s", hone_units_bytes((double)row->memory_bytes).s, hone_units_time(row->left_s).s);
#undef ADD
    return n < (int)size ? n : (int)size - 1;
}

static void draw_step(hone_progress *progress, const hone_progress_row *row)
{
    char text[256];
    if (!progress->terminal) {
        if (row->step % progress->every && row->done < 1) return;
        print_row(progress, row, text, sizeof text);
        fprintf(progress->out, "%s\n", text);
        fflush(progress->out);
        return;
    }
    double now = hone_clock_s();
    if (progress->drawn_s >= 0 && now - progress->drawn_s < REDRAW_S && row->done < 1) return;
    int n = print_row(progress, row, text, sizeof text), most = columns_of(progress);
    if (most && n >= most) text[n = most - 1] = '\0'; // a wrapped line could not be redrawn
    fprintf(progress->out, "\r%s%*s", text, progress->drawn_columns > n ? progress->drawn_columns - n : 0, "");
    fflush(progress->out);
    progress->drawn_columns = n;
    progress->drawn_s = now;
}

void hone_progress_step(hone_progress *progress, const hone_progress_row *row)
{
    pthread_mutex_lock(&drawing);
    draw_step(progress, row);
    pthread_mutex_unlock(&drawing);
}

void hone_progress_held(hone_progress *progress, int64_t step, double loss, double bits_per_byte)
{
    progress->held_step = step;
    progress->held_loss = loss;
    progress->held_bpb = bits_per_byte;
}

void hone_progress_say(hone_progress *progress, const char *format, ...)
{
    pthread_mutex_lock(&drawing);
    clear(progress);
    va_list args;
    va_start(args, format);
    vfprintf(progress->out, format, args);
    va_end(args);
    fputc('\n', progress->out);
    fflush(progress->out);
    pthread_mutex_unlock(&drawing);
}

void hone_progress_end(hone_progress *progress)
{
    if (progress->drawn_columns) fputc('\n', progress->out);
    progress->drawn_columns = 0;
    fflush(progress->out);
}
