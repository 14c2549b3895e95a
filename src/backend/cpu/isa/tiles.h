// tiles.h: AMX registers: eight tiles of 16 rows of 64 bytes, to be set up before the first use and released after the last.
#pragma once
#include <immintrin.h>
#include <stdint.h>

static inline void tiles_begin(void)
{
    static const struct { uint8_t palette, start, reserved[14]; uint16_t row_bytes[16]; uint8_t rows[16]; } whole = {
        .palette = 1, .row_bytes = { 64, 64, 64, 64, 64, 64, 64, 64 }, .rows = { 16, 16, 16, 16, 16, 16, 16, 16 } };
    _tile_loadconfig(&whole);
}
static inline void tiles_end(void) { _tile_release(); }
