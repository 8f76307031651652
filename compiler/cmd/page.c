#include "cmd/page.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const char style[] =
    ":root{color-scheme:light dark;--paper:#fcfcfb;--card:#ffffff;--ink:#1c1b1a;--soft:#5f5e59;--line:#dcdad4;--grid:#eceae5;"
    "--a:#2a78d6;--b:#d9571f;--c:#1a8f68;--d:#7a5cc9;--e:#8a8983;--warm:#f6d9c9}\n"
    "@media (prefers-color-scheme:dark){:root{--paper:#191918;--card:#222220;--ink:#efeee9;--soft:#a9a79f;--line:#3b3a36;"
    "--grid:#2d2c29;--a:#5b9ff0;--b:#f08a58;--c:#3fbb8f;--d:#a78df0;--e:#85837b;--warm:#54331f}}\n"
    "*{box-sizing:border-box}body{margin:0 auto;max-width:1100px;padding:16px;background:var(--paper);color:var(--ink);"
    "font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;overflow-wrap:anywhere}\n"
    "h1{font-size:24px;margin:8px 0}h2{font-size:19px;margin:32px 0 8px}h3{font-size:16px;margin:20px 0 6px}"
    "p{margin:6px 0;max-width:80ch}nav a{margin-right:14px}a{color:var(--a)}.soft{color:var(--soft)}\n"
    ".scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:8px;margin:8px 0}"
    ".scroll>svg{display:block;min-width:640px;width:100%;height:auto}.tall>svg{min-width:0;width:auto;max-width:none}\n"
    "table{border-collapse:collapse;width:100%;font-size:13px}th,td{padding:4px 8px;text-align:right;white-space:nowrap;"
    "border-bottom:1px solid var(--grid);font-variant-numeric:tabular-nums}th{color:var(--soft);font-weight:600;"
    "vertical-align:bottom}td:first-child,th:first-child,.t,.w{text-align:left}td:first-child,td.w{white-space:normal}td:first-"
    "child{min-width:12ch;max-width:38ch}td.w{min-width:20ch}"
    "tr:last-child td{border-bottom:0}\n"
    ".missing{border-left:4px solid var(--b);background:var(--card);padding:8px 12px;margin:8px 0}"
    "details{margin:10px 0}summary{cursor:pointer;font-weight:600;color:var(--a)}"
    "code{font-family:ui-monospace,Consolas,monospace;font-size:13px}"
    "svg text{font-size:11px;fill:var(--ink)}svg .soft{fill:var(--soft)}svg .axis{stroke:var(--line)}svg .grid{stroke:"
    "var(--grid)}\n"
    ".tiles{display:flex;flex-wrap:wrap;gap:8px}.tiles div{flex:1 1 130px;background:var(--card);border:1px solid var(--line);"
    "border-radius:8px;padding:8px 12px}.tiles b{display:block;font-size:19px}.tiles span{color:var(--soft);font-size:12px}"
    ".key{display:inline-block;width:10px;height:10px;border-radius:3px;margin:0 4px 0 12px}\n";

/* Length of the well-formed UTF-8 sequence at `at` that XML allows, or 0. */
static int character(const unsigned char *at) {
  if (at[0] < 0x80) return at[0] >= 0x20 && at[0] != 0x7f ? 1 : 0;
  int length = at[0] >= 0xc2 && at[0] <= 0xdf ? 2 : (at[0] & 0xf0) == 0xe0 ? 3 : at[0] >= 0xf0 && at[0] <= 0xf4 ? 4 : 0;
  for (int i = 1; i < length; i++)
    if ((at[i] & 0xc0) != 0x80) return 0;
  if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f)) return 0;
  if ((at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f)) return 0;
  if (at[0] == 0xc2 && at[1] < 0xa0) return 0;                   /* C1 controls */
  if (at[0] == 0xef && at[1] == 0xbf && at[2] >= 0xbe) return 0; /* U+FFFE and U+FFFF */
  return length;
}

/* Writes one character and returns the one after it. */
static const unsigned char *write_character(FILE *page, const unsigned char *at) {
  int length = character(at);
  if (length == 0)
    fputs("&#xFFFD;", page);
  else if (*at == '&')
    fputs("&amp;", page);
  else if (*at == '<')
    fputs("&lt;", page);
  else if (*at == '>')
    fputs("&gt;", page);
  else if (*at == '"')
    fputs("&quot;", page);
  else if (*at == '\'')
    fputs("&#39;", page);
  else
    fwrite(at, 1, (size_t)length, page);
  return at + (length == 0 ? 1 : length);
}

void page_text(FILE *page, const char *text) {
  for (const unsigned char *at = (const unsigned char *)text; *at != '\0';) at = write_character(page, at);
}

static int count_characters(const unsigned char *at) {
  int count = 0;
  for (; *at != '\0'; count++) at += character(at) == 0 ? 1 : character(at);
  return count;
}

void page_short(FILE *page, const char *text, int columns) {
  const unsigned char *at = (const unsigned char *)text;
  int skipped = count_characters(at) - columns;
  if (skipped > 0) fputs("&#x2026;", page);
  for (int i = 0; skipped > 0 && i <= skipped; i++) at += character(at) == 0 ? 1 : character(at);
  page_text(page, (const char *)at);
}

void page_count(FILE *page, int64_t count) {
  char digits[32], text[48];
  snprintf(digits, sizeof digits, "%" PRId64, count);
  size_t length = strlen(digits), out = 0;
  for (size_t i = 0; i < length; i++) {
    if (i > 0 && digits[i - 1] != '-' && (length - i) % 3 == 0) text[out++] = ',';
    text[out++] = digits[i];
  }
  text[out] = '\0';
  fprintf(page, "<data value=\"%s\">%s</data>", digits, text);
}

void page_bytes(FILE *page, int64_t bytes) {
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double size = (double)bytes;
  int unit = 0;
  for (; size >= 1024 && unit < 4; unit++) size /= 1024;
  fprintf(page, "<data value=\"%" PRId64 "\">%.*f&#160;%s</data>", bytes, unit == 0 || size >= 100 ? 0 : 1, size, units[unit]);
}

void page_flops(FILE *page, double flops) {
  static const char *const units[] = {"", "K", "M", "G", "T"};
  double size = flops;
  int unit = 0;
  for (; size >= 1000 && unit < 4; unit++) size /= 1000;
  fprintf(page, "<data value=\"%.0f\">%.3g&#160;%sFLOP</data>", flops, size, units[unit]);
}

void page_number(FILE *page, double number) {
  if (!isfinite(number))
    fputs("-", page);
  else
    fprintf(page, fabs(number) < 1000 ? "<data value=\"%.12g\">%.3g</data>" : "<data value=\"%.12g\">%.0f</data>", number,
            number);
}

void page_open(FILE *page, const char *title) {
  fputs("<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n<meta charset=\"utf-8\" />\n"
        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\" />\n<title>",
        page);
  page_text(page, title);
  fprintf(page, "</title>\n<style>\n%s</style>\n</head>\n<body>\n", style);
}

void page_close(FILE *page) {
  fputs("</body>\n</html>\n", page);
}

void page_section(FILE *page, const char *id, const char *title) {
  fprintf(page, "<section id=\"%s\">\n<h2>%s</h2>\n", id, title);
}

void page_section_end(FILE *page) {
  fputs("</section>\n", page);
}

void page_svg(FILE *page, double width, double height, const char *label) {
  fprintf(page,
          "<div class=\"scroll\"><svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" role=\"img\" "
          "aria-label=\"%s\">\n",
          width, height, label);
}

void page_svg_end(FILE *page) {
  fputs("</svg></div>\n", page);
}
