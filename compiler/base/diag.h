/* Status and the one error message of a compilation.
 *
 * A function that can fail on bad input returns `enum status`. The place that finds the fault calls diag_fail, which keeps the
 * first message and returns its status; TRY passes it up; the command prints it once, as `vitc: MESSAGE`. The values are the
 * exit statuses of the command line. */
#ifndef VITC_BASE_DIAG_H
#define VITC_BASE_DIAG_H

#include <stdbool.h>

enum status {
  STATUS_OK = 0,
  STATUS_NO = 1,     /* ran, and the answer is no: compare past tolerance, some image unreadable */
  STATUS_USAGE = 2,  /* bad command line */
  STATUS_INPUT = 3,  /* bad model, weights or image: `FILE: what is wrong and where` */
  STATUS_SYSTEM = 4, /* memory, disk, unsupported CPU */
};

struct diag {
  enum status status;
  char message[1024];
};

#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_at, first_at) __attribute__((format(printf, format_at, first_at)))

/* Keeps the message if it is the first, and returns `status`. Control characters in the message are replaced by '?', so that
 * the message stays one line whatever a file holds. */
enum status diag_fail(struct diag *diag, enum status status, const char *format, ...) PRINTF_LIKE(3, 4);

#define TRY(expression)                             \
  do {                                              \
    enum status try_status = (expression);          \
    if (try_status != STATUS_OK) return try_status; \
  } while (0)

#endif
