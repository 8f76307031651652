#include "cmd/predict.h"

#include "driver_json.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool printed_one;

static const char *label_of(const struct prediction *prediction, uint32_t rank) {
  return prediction->labels != NULL ? prediction->labels[prediction->classes[rank]] : NULL;
}

static double probability_of(const struct prediction *prediction, uint32_t rank) {
  return (double)prediction->probabilities[prediction->classes[rank]];
}

static void print_text(const struct prediction *prediction) {
  printf("%s:", prediction->path);
  for (uint32_t i = 0; i < prediction->count; i++) {
    const char *label = label_of(prediction, i);
    printf(" %" PRIu32 ". ", i + 1);
    if (label != NULL)
      fputs(label, stdout);
    else
      printf("class %" PRIu32, prediction->classes[i]);
    printf(" %.4f", probability_of(prediction, i));
  }
  putchar('\n');
}

static void print_json(const struct prediction *prediction) {
  fputs(printed_one ? ",\n{\"image\":" : "\n{\"image\":", stdout);
  json_string(stdout, prediction->path);
  fputs(",\"classes\":[", stdout);
  for (uint32_t i = 0; i < prediction->count; i++) {
    const char *label = label_of(prediction, i);
    printf("%s{\"class\":%" PRIu32 ",\"label\":", i > 0 ? "," : "", prediction->classes[i]);
    if (label != NULL)
      json_string(stdout, label);
    else
      fputs("null", stdout);
    fputs(",\"probability\":", stdout);
    json_number(stdout, probability_of(prediction, i));
    putchar('}');
  }
  fputs("]}", stdout);
}

/* RFC 4180: quoted where it must be. */
static void print_field(const char *text) {
  if (strpbrk(text, "\",\r\n") == NULL) {
    fputs(text, stdout);
    return;
  }
  putchar('"');
  for (; *text != '\0'; text++) {
    if (*text == '"') putchar('"');
    putchar(*text);
  }
  putchar('"');
}

static void print_csv(const struct prediction *prediction) {
  for (uint32_t i = 0; i < prediction->count; i++) {
    const char *label = label_of(prediction, i);
    print_field(prediction->path);
    printf(",%" PRIu32 ",%" PRIu32 ",", i + 1, prediction->classes[i]);
    print_field(label != NULL ? label : "");
    printf(",%.9g\n", probability_of(prediction, i));
  }
}

void predict_begin(enum predict_format format) {
  printed_one = false;
  if (format == PREDICT_JSON) putchar('[');
  if (format == PREDICT_CSV) puts("image,rank,class,label,probability");
}

void predict_print(enum predict_format format, const struct prediction *prediction) {
  static void (*const printers[])(const struct prediction *) = {print_text, print_json, print_csv};
  printers[format](prediction);
  printed_one = true;
}

void predict_end(enum predict_format format) {
  if (format == PREDICT_JSON) puts("\n]");
}
