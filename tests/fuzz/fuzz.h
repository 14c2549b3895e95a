// fuzz.h: what libFuzzer calls. A target crashes, leaks or hangs, or it holds; an input that is refused is fine.
#pragma once
#include "base/error.h"
#include "base/memory.h"
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_HOLDS(condition) do { if (!(condition)) abort(); } while (0)
