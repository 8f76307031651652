/* Mutations that keep JSON well-formed: a string or number becomes another one, so that graphs are broken and not only texts.
 */
#ifndef VITC_TESTS_FUZZ_TOKENS_H
#define VITC_TESTS_FUZZ_TOKENS_H

#include <stddef.h>
#include <stdint.h>

/* Mutates in place within `max_size` and returns the new size; 0 when the text has no two tokens. */
size_t tokens_mutate(uint8_t *text, size_t size, size_t max_size, unsigned seed);

#endif
