/* JSON text to a cJSON tree, strictly: RFC 8259 syntax in valid UTF-8, and beyond it no duplicate keys, no integer past 2^53,
 * no number past a double's range, no NUL in strings. Depth, number of values and length of numbers are limited, so that the
 * tree takes a bounded amount of memory and stack whatever the text holds: at most 80 MiB.
 */
#ifndef VITC_FRONTENDS_JSON_TEXT_H
#define VITC_FRONTENDS_JSON_TEXT_H

#include "base/diag.h"
#include "base/span.h"

#include <cjson/cJSON.h>

enum { JSON_DEPTH_MAX = 32, JSON_VALUES_MAX = 1 << 18, JSON_NUMBER_MAX = 60, JSON_BYTES_MAX = 16 << 20 };

/* `part` names the text within the file and ends in ", " ("header, "), or is "". The caller deletes the tree. Errors name line
 * and column (in characters, from 1), or the path of a duplicate key. */
MUST_USE enum status json_parse(const char *file, const char *part, struct span text, cJSON **out_root, struct diag *diag);

/* Whether the item is a number without a fraction; its magnitude is at most 2^53. */
bool json_integer(const cJSON *item, int64_t *out_integer);

/* "a string", "a number", ...: for messages. */
const char *json_kind(const cJSON *item);

#endif
