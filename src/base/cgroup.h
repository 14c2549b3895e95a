// cgroup.h: the limits that a container or a service manager puts on this process (cgroup v1 and v2).
#pragma once
#include <stdint.h>

int64_t hone_cgroup_memory_limit_bytes(void); // least limit; INT64_MAX: none
int64_t hone_cgroup_memory_free_bytes(void); // least room below a limit, page cache counted as free; INT64_MAX: no limit
double hone_cgroup_cpus(void);               // least CPU quota in cores; 0: no quota
