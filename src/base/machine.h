/* base/machine.h: what the machine, its control groups and the limits of this process leave us. */
#pragma once

#include "base/check.h"

/* The least of the machine's memory, the limits of our control group and those above it, and the limit of
 * our address space. At least 1. Asked at the start; what is lowered later is not seen. */
int64_t machine_memory_bytes(void);
/* Raises the limit of open descriptors as far as this process may, and gives what it is then; 0 where the
 * system does not say. */
int64_t machine_raise_descriptors(void);
