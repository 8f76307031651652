/* One line on the terminal for work that takes more than a second; nothing when stderr is not a terminal. */
#ifndef VITC_CMD_PROGRESS_H
#define VITC_CMD_PROGRESS_H

#include <stddef.h>

/* From here on, a line once a second names `label` (borrowed until progress_end) and the seconds since. Not nested. */
void progress_begin(const char *label);
void progress_count(size_t done, size_t total); /* adds "done of total" */
void progress_clear(void);                      /* before something else is printed */
void progress_end(void);                        /* clears the line; nothing when none is under way */

#endif
