#pragma once
#include <stdint.h>

/// How often this thread has called malloc, calloc, realloc, aligned_alloc, memalign or posix_memalign.
uint64_t thread_allocations(void);

/// The CPU that this thread has used, in nanoseconds.
uint64_t thread_nanoseconds(void);
