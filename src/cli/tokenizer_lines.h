// tokenizer_lines.h: hone tokenizer encode | decode: streams of JSON lines, or raw bytes.
#pragma once
#include "base/error.h"

hone_status hone_cli_tokenizer_encode(int argc, char **argv);
hone_status hone_cli_tokenizer_decode(int argc, char **argv);
