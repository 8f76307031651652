/* JSON tokens to a stream, the same bytes for the same values. */
#ifndef VITC_FRONTENDS_JSON_EMIT_H
#define VITC_FRONTENDS_JSON_EMIT_H

#include <stdio.h>

/* In double quotes; `text` is UTF-8. */
void emit_string(FILE *stream, const char *text);

/* The shortest decimal that reads back as the same finite double, or as the same float. */
void emit_double(FILE *stream, double number);
void emit_float(FILE *stream, float number);

#endif
