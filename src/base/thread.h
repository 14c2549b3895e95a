// thread.h: threads that serve in the background: saves, imports, watching, moves.
#pragma once
#include "base/error.h"
#include <pthread.h>
#include <stddef.h>

// Starts main(argument) on a stack of stack_bytes. purpose, for the message: "the thread that `writes checkpoints` cannot start".
hone_status hone_thread_start(pthread_t *thread, size_t stack_bytes, void *(*main)(void *), void *argument, const char *purpose);
