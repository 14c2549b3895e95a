// thread.h: threads that serve in the background: saves, imports, watching, moves.
#pragma once
#include "base/error.h"
#include <pthread.h>
#include <stddef.h>

// Starts main(argument) on a stack of stack_bytes. purpose, for the message: "the thread that `writes checkpoints` cannot start".
hone_status hone_thread_start(pthread_t *thread, size_t stack_bytes, void *(*main)(void *), void *argument, const char *purpose);

// Makes OpenMP's threads spin for some 30 us only before they sleep, unless the environment says how they wait. libgomp reads that
// when it is loaded, so the program begins anew (argv as main has it); where that fails, it goes on as it is. By default they spin
// ten times as long, which on a machine with other work takes the cores from the very thread that is waited for.
void hone_thread_wait_briefly(char **argv);
