#include "json/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct scanner {
  const char *file, *part;
  const uint8_t *text;
  size_t size, at;
  size_t values;
  struct diag *diag;
};

static enum status fail_at(const struct scanner *s, size_t at, const char *what) {
  size_t line = 1, column = 1;
  for (size_t i = 0; i < at; i++) {
    if (s->text[i] == '\n') {
      line++;
      column = 1;
    } else if ((s->text[i] & 0xC0) != 0x80) {
      column++;
    }
  }
  return diag_fail(s->diag, STATUS_INPUT, "%s: %sline %zu, column %zu: %s", s->file, s->part, line, column, what);
}

static int peek(const struct scanner *s) {
  return s->at < s->size ? s->text[s->at] : -1;
}

static bool is_digit(int c) {
  return c >= '0' && c <= '9';
}

static void skip_space(struct scanner *s) {
  for (int c = peek(s); c == ' ' || c == '\n' || c == '\r' || c == '\t'; c = peek(s)) s->at++;
}

/* Length of the well-formed UTF-8 sequence at p (Unicode 15, table 3-7), or 0. */
static size_t utf8_length(const uint8_t *p, size_t size) {
  uint8_t first = p[0], low = 0x80, high = 0xBF;
  size_t length;
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF)
    length = 2;
  else if (first >= 0xE0 && first <= 0xEF)
    length = 3;
  else if (first >= 0xF0 && first <= 0xF4)
    length = 4;
  else
    return 0;
  if (first == 0xE0) low = 0xA0;
  if (first == 0xED) high = 0x9F;
  if (first == 0xF0) low = 0x90;
  if (first == 0xF4) high = 0x8F;
  if (size < length || p[1] < low || p[1] > high) return 0;
  for (size_t i = 2; i < length; i++)
    if ((p[i] & 0xC0) != 0x80) return 0;
  return length;
}

/* Four hexadecimal digits at s->at, or -1. */
static int32_t hex4(const struct scanner *s) {
  int32_t code = 0;
  if (s->size - s->at < 4) return -1;
  for (size_t i = 0; i < 4; i++) {
    int c = s->text[s->at + i];
    int digit = is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return -1;
    code = code * 16 + digit;
  }
  return code;
}

static enum status scan_escape(struct scanner *s) {
  size_t start = s->at++;
  int c = peek(s);
  if (c < 0 || !strchr("\"\\/bfnrtu", c) || c == 0) return fail_at(s, start, "unknown escape in a string");
  s->at++;
  if (c != 'u') return STATUS_OK;
  int32_t code = hex4(s);
  if (code < 0) return fail_at(s, start, "expected four hexadecimal digits after \\u");
  if (code == 0) return fail_at(s, start, "a string must not contain the character NUL");
  s->at += 4;
  if (code >= 0xDC00 && code <= 0xDFFF) return fail_at(s, start, "half of a surrogate pair");
  if (code < 0xD800 || code > 0xDBFF) return STATUS_OK;
  if (s->size - s->at < 6 || s->text[s->at] != '\\' || s->text[s->at + 1] != 'u')
    return fail_at(s, start, "half of a surrogate pair");
  s->at += 2;
  code = hex4(s);
  if (code < 0xDC00 || code > 0xDFFF) return fail_at(s, start, "half of a surrogate pair");
  s->at += 4;
  return STATUS_OK;
}

static enum status scan_string(struct scanner *s) {
  size_t start = s->at++;
  for (;;) {
    int c = peek(s);
    if (c < 0) return fail_at(s, start, "this string does not end");
    if (c == '"') break;
    if (c < 0x20) return fail_at(s, s->at, "control character in a string");
    if (c == '\\') {
      TRY(scan_escape(s));
      continue;
    }
    size_t length = utf8_length(s->text + s->at, s->size - s->at);
    if (!length) return fail_at(s, s->at, "not valid UTF-8");
    s->at += length;
  }
  s->at++;
  return STATUS_OK;
}

static enum status scan_number(struct scanner *s) {
  size_t start = s->at;
  bool whole = true;
  if (peek(s) == '-') s->at++;
  if (!is_digit(peek(s))) return fail_at(s, start, "expected a value");
  bool zero = peek(s) == '0';
  s->at++;
  if (zero && is_digit(peek(s))) return fail_at(s, start, "a number must not begin with 0");
  while (is_digit(peek(s))) s->at++;
  if (peek(s) == '.') {
    whole = false;
    s->at++;
    if (!is_digit(peek(s))) return fail_at(s, s->at, "expected a digit");
    while (is_digit(peek(s))) s->at++;
  }
  if (peek(s) == 'e' || peek(s) == 'E') {
    whole = false;
    s->at++;
    if (peek(s) == '+' || peek(s) == '-') s->at++;
    if (!is_digit(peek(s))) return fail_at(s, s->at, "expected a digit");
    while (is_digit(peek(s))) s->at++;
  }
  /* cJSON itself reads at most 63 characters of a number. */
  char digits[JSON_NUMBER_MAX + 1];
  size_t length = s->at - start;
  if (length > JSON_NUMBER_MAX) return fail_at(s, start, "a number of more than 60 characters");
  memcpy(digits, s->text + start, length);
  digits[length] = 0;
  double number = strtod(digits, NULL);
  if (!isfinite(number)) return fail_at(s, start, "a number too large for a double");
  if (whole && (length > 17 || llabs(strtoll(digits, NULL, 10)) > 1LL << 53))
    return fail_at(s, start, "an integer beyond 2^53");
  return STATUS_OK;
}

static enum status scan_word(struct scanner *s) {
  static const char *const words[] = {"true", "false", "null"};
  for (size_t i = 0; i < 3; i++) {
    size_t length = strlen(words[i]);
    if (s->size - s->at >= length && !memcmp(s->text + s->at, words[i], length)) {
      s->at += length;
      return STATUS_OK;
    }
  }
  return fail_at(s, s->at, s->at < s->size ? "expected a value" : "expected a value, found the end of the text");
}

static enum status scan_value(struct scanner *s, int depth);

static enum status scan_members(struct scanner *s, int depth, bool object) {
  size_t start = s->at++;
  int close = object ? '}' : ']';
  if (depth == JSON_DEPTH_MAX) return fail_at(s, start, "nested more than 32 levels deep");
  skip_space(s);
  if (peek(s) == close) {
    s->at++;
    return STATUS_OK;
  }
  for (;;) {
    skip_space(s);
    if (object) {
      if (peek(s) != '"') return fail_at(s, s->at, "expected a key in double quotes");
      TRY(scan_string(s));
      skip_space(s);
      if (peek(s) != ':') return fail_at(s, s->at, "expected ':' after a key");
      s->at++;
    }
    TRY(scan_value(s, depth + 1));
    skip_space(s);
    if (peek(s) == close) break;
    if (peek(s) < 0) return fail_at(s, start, object ? "this object does not end" : "this array does not end");
    if (peek(s) != ',') return fail_at(s, s->at, object ? "expected ',' or '}'" : "expected ',' or ']'");
    s->at++;
  }
  s->at++;
  return STATUS_OK;
}

static enum status scan_value(struct scanner *s, int depth) {
  skip_space(s);
  if (++s->values > JSON_VALUES_MAX) return fail_at(s, s->at, "more than 262144 values");
  int c = peek(s);
  if (c == '{' || c == '[') return scan_members(s, depth, c == '{');
  if (c == '"') return scan_string(s);
  if (c == '-' || is_digit(c)) return scan_number(s);
  return scan_word(s);
}

/* Where the duplicate search is: a chain from the innermost item outwards. */
struct place {
  const struct place *outer;
  const cJSON *item;
  size_t index;
};

/* At most `size` bytes, cut at the end if longer. */
static size_t print_place(const struct place *place, char *text, size_t size) {
  if (!place->outer) return 0;
  size_t used = print_place(place->outer, text, size);
  if (used >= size) return used;
  int more = cJSON_IsArray(place->outer->item)
                 ? snprintf(text + used, size - used, "[%zu]", place->index)
                 : snprintf(text + used, size - used, "%s%s", used ? "." : "", place->item->string);
  return used + (more > 0 ? (size_t)more : 0);
}

static int compare_keys(const void *a, const void *b) {
  return strcmp((*(const cJSON *const *)a)->string, (*(const cJSON *const *)b)->string);
}

static enum status check_keys(const char *file, const char *part, const struct place *place, struct diag *diag) {
  size_t count = 0;
  const cJSON *item;
  cJSON_ArrayForEach(item, place->item) count++;
  const cJSON **keys = malloc((count + 1) * sizeof *keys);
  if (!keys) return diag_fail(diag, STATUS_SYSTEM, "%s: out of memory", file);
  count = 0;
  cJSON_ArrayForEach(item, place->item) keys[count++] = item;
  qsort(keys, count, sizeof *keys, compare_keys);
  const char *twice = NULL;
  for (size_t i = 1; i < count && !twice; i++)
    if (!strcmp(keys[i - 1]->string, keys[i]->string)) twice = keys[i]->string;
  free(keys);
  if (!twice) return STATUS_OK;
  char where[256] = "";
  print_place(place, where, sizeof where);
  return diag_fail(diag, STATUS_INPUT, "%s: %s%s%skey \"%s\" occurs twice", file, part, where, *where ? ": " : "", twice);
}

static enum status check_duplicates(const char *file, const char *part, const struct place *place, struct diag *diag) {
  if (cJSON_IsObject(place->item)) TRY(check_keys(file, part, place, diag));
  size_t index = 0;
  const cJSON *item;
  cJSON_ArrayForEach(item, place->item) {
    struct place inner = {place, item, index++};
    if (item->child) TRY(check_duplicates(file, part, &inner, diag));
  }
  return STATUS_OK;
}

enum status json_parse(const char *file, const char *part, struct span text, cJSON **out_root, struct diag *diag) {
  struct scanner s = {.file = file, .part = part, .text = text.data, .size = text.size, .diag = diag};
  *out_root = NULL;
  if (text.size > JSON_BYTES_MAX)
    return diag_fail(diag, STATUS_INPUT, "%s: %s%zu bytes of JSON, expected at most %d", file, part, text.size, JSON_BYTES_MAX);
  if (text.size >= 3 && !memcmp(text.data, "\xEF\xBB\xBF", 3)) return fail_at(&s, 0, "begins with a byte order mark");
  TRY(scan_value(&s, 0));
  skip_space(&s);
  if (s.at != s.size) return fail_at(&s, s.at, "expected nothing after the value");
  cJSON *root = cJSON_ParseWithLength((const char *)text.data, text.size);
  if (!root) return diag_fail(diag, STATUS_SYSTEM, "%s: out of memory", file);
  struct place place = {NULL, root, 0};
  enum status status = check_duplicates(file, part, &place, diag);
  if (status != STATUS_OK) {
    cJSON_Delete(root);
    return status;
  }
  *out_root = root;
  return STATUS_OK;
}

bool json_integer(const cJSON *item, int64_t *out_integer) {
  if (!cJSON_IsNumber(item)) return false;
  double number = item->valuedouble;
  if (!(fabs(number) <= 9007199254740992.0) || number != floor(number)) return false;
  *out_integer = (int64_t)number;
  return true;
}

const char *json_kind(const cJSON *item) {
  if (cJSON_IsString(item)) return "a string";
  if (cJSON_IsNumber(item)) return "a number";
  if (cJSON_IsBool(item)) return "a boolean";
  if (cJSON_IsArray(item)) return "an array";
  if (cJSON_IsObject(item)) return "an object";
  return cJSON_IsNull(item) ? "null" : "nothing";
}
