/* Runs the digits model on a fixed image and prints the status and the logits, bit for bit. With an argument it runs the AVX2
 * code, else what the model chooses for this CPU. */
#include <stdio.h>

int digits_run_avx2(const vitc_args *args);

static float pixels[DIGITS_INPUT_ELEMENTS], logits[DIGITS_OUTPUT_ELEMENTS];
static _Alignas(VITC_ALIGNMENT) unsigned char arena[DIGITS_ARENA_BYTES];

int main(int argc, char **argv) {
  (void)argv;
  for (unsigned i = 0; i < DIGITS_INPUT_ELEMENTS; i++) pixels[i] = (float)(i * 37 % 101) / 50 - 1;
  const void *inputs[] = {pixels};
  void *outputs[] = {logits};
  vitc_args args = {inputs, outputs, 1, arena, NULL, NULL};
  int status = argc > 1 ? digits_run_avx2(&args) : digits_run(pixels, logits, 1, arena, NULL);
  printf("%d", status);
  for (unsigned i = 0; status == VITC_OK && i < DIGITS_OUTPUT_ELEMENTS; i++) printf(" %a", (double)logits[i]);
  printf("\n");
  return 0;
}
