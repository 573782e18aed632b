/* engine/base/mem_idle.h - memory that only work needs, given back by who has none.
 * Nothing changes but what is resident: all of it comes back where it is used. */
#pragma once
#include <stdbool.h>

/* Whether the allocator keeps what the calling thread has freed for the thread's next allocation,
 * as it does from a thread's first one on. Of many threads that mostly wait, each should have that
 * from its first work on: it takes some 25 KB. */
void tally_mem_idle_thread(bool idle);
/* Gives back what is freed and still held, and the pages of the program and its libraries: clean
 * copies of files, of which the start has touched far more than an idle process. A page that is
 * used again is found in the page cache, with its neighbours, in a microsecond. @thread any */
void tally_mem_idle_trim(void);
