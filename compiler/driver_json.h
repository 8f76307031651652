/* JSON as text on a stream: strings escaped, numbers that read back as the same double. */
#ifndef VITC_DRIVER_JSON_H
#define VITC_DRIVER_JSON_H

#include <stdio.h>

/* In quotes; control characters, quotes and backslashes escaped, bytes that are no UTF-8 replaced by U+FFFD. */
void json_string(FILE *stream, const char *text);

/* NaN and infinities become null. */
void json_number(FILE *stream, double number);

#endif
