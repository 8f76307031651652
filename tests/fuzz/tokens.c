#include "tokens.h"

#include <string.h>

enum { TOKENS_MAX = 2048, TOKEN_BYTES_MAX = 256 };

struct token {
  size_t start, size;
};

static const char *const numbers[] = {
    "0",   "1",    "-1",    "2",    "3",    "8",  "16",  "2147483648", "9007199254740992", "-9007199254740992",
    "0.5", "1e38", "\"N\"", "\"\"", "null", "[]", "[0]", "[1, 2, 3]"};

static size_t number_size(const uint8_t *text, size_t size) {
  size_t length = 0;
  while (length < size && text[length] && strchr("0123456789+-.eE", text[length])) length++;
  return length;
}

static size_t string_size(const uint8_t *text, size_t size) {
  size_t length = 1;
  while (length < size && text[length] != '"') length += text[length] == '\\' ? 2 : 1;
  return length < size ? length + 1 : 0;
}

static size_t find_tokens(const uint8_t *text, size_t size, struct token *tokens) {
  size_t count = 0, at = 0;
  while (at < size && count < TOKENS_MAX) {
    size_t length = text[at] == '"' ? string_size(text + at, size - at) : number_size(text + at, size - at);
    if (length) tokens[count++] = (struct token){at, length};
    at += length ? length : 1;
  }
  return count;
}

static uint32_t next_random(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  return *state >> 8;
}

size_t tokens_mutate(uint8_t *text, size_t size, size_t max_size, unsigned seed) {
  static struct token tokens[TOKENS_MAX];
  uint32_t state = seed;
  size_t count = find_tokens(text, size, tokens);
  if (count < 2) return 0;
  struct token out = tokens[next_random(&state) % count], in = tokens[next_random(&state) % count];
  uint8_t bytes[TOKEN_BYTES_MAX];
  if (text[out.start] != '"' && next_random(&state) % 2) {
    const char *number = numbers[next_random(&state) % (sizeof numbers / sizeof *numbers)];
    in.size = strlen(number);
    memcpy(bytes, number, in.size);
  } else {
    if (in.size > TOKEN_BYTES_MAX) return 0;
    memcpy(bytes, text + in.start, in.size);
  }
  if (size - out.size + in.size > max_size) return 0;
  memmove(text + out.start + in.size, text + out.start + out.size, size - out.start - out.size);
  memcpy(text + out.start, bytes, in.size);
  return size - out.size + in.size;
}
