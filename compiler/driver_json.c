#include "driver_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Length of the well-formed UTF-8 sequence at `at`, or 0. The terminator ends every loop, being no continuation byte. */
static int utf8_length(const unsigned char *at) {
  if (at[0] < 0x80) return 1;
  int length = at[0] >= 0xc2 && at[0] <= 0xdf ? 2 : (at[0] & 0xf0) == 0xe0 ? 3 : at[0] >= 0xf0 && at[0] <= 0xf4 ? 4 : 0;
  for (int i = 1; i < length; i++)
    if ((at[i] & 0xc0) != 0x80) return 0;
  if (at[0] == 0xe0 && at[1] < 0xa0) return 0; /* overlong */
  if (at[0] == 0xed && at[1] > 0x9f) return 0; /* surrogates */
  if (at[0] == 0xf0 && at[1] < 0x90) return 0;
  if (at[0] == 0xf4 && at[1] > 0x8f) return 0;
  return length;
}

void json_string(FILE *stream, const char *text) {
  fputc('"', stream);
  const unsigned char *at = (const unsigned char *)text;
  while (*at != '\0') {
    int length = utf8_length(at);
    if (length == 0)
      fputs("\\ufffd", stream);
    else if (*at == '"' || *at == '\\')
      fprintf(stream, "\\%c", *at);
    else if (*at < 0x20 || *at == 0x7f)
      fprintf(stream, "\\u%04x", *at);
    else
      fwrite(at, 1, (size_t)length, stream);
    at += length == 0 ? 1 : length;
  }
  fputc('"', stream);
}

void json_number(FILE *stream, double number) {
  char text[32] = "null";
  for (int digits = 12; isfinite(number) && digits <= 18; digits += 3) {
    snprintf(text, sizeof text, "%.*g", digits < 17 ? digits : 17, number);
    if (strtod(text, NULL) == number) break;
  }
  fputs(text, stream);
}
