/* Pieces of an HTML page that is also well-formed XML. All text goes through page_text or page_short: names of a model are
 * anybody's. */
#ifndef VITC_CMD_PAGE_H
#define VITC_CMD_PAGE_H

#include <stdint.h>
#include <stdio.h>

/* Escaped for elements and attributes; control characters and bytes that are no UTF-8 become U+FFFD. */
void page_text(FILE *page, const char *text);

/* At most `columns` characters: of a longer text the end, which tells layers apart, after an ellipsis. */
void page_short(FILE *page, const char *text, int columns);

/* <data value="N"> with a readable figure inside. */
void page_count(FILE *page, int64_t count);  /* 1,234 */
void page_bytes(FILE *page, int64_t bytes);  /* 12.0 MiB */
void page_flops(FILE *page, double flops);   /* 34.5 GFLOP */
void page_number(FILE *page, double number); /* three digits; "-" when it is not finite */

void page_open(FILE *page, const char *title);
void page_close(FILE *page);

/* <section id="id"><h2>title</h2> .. */
void page_section(FILE *page, const char *id, const char *title);
void page_section_end(FILE *page);

/* An SVG of this size in its own units, as wide as the page where it is wider, in a box that scrolls on narrow screens. `label`
 * says what it shows to those who cannot see it. */
void page_svg(FILE *page, double width, double height, const char *label);
void page_svg_end(FILE *page);

#endif
