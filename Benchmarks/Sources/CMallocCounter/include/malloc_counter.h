#pragma once
#include <stdint.h>
uint64_t malloc_counter_calls(void);
