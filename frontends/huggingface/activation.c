#include "huggingface/activation.h"

#include <string.h>

enum status activation_read(const struct config *config, enum activation *out_activation) {
  static const struct {
    const char *name;
    enum activation activation;
  } known[] = {{"gelu", ACTIVATION_GELU},
               {"gelu_python", ACTIVATION_GELU},
               {"gelu_new", ACTIVATION_GELU_TANH},
               {"gelu_fast", ACTIVATION_GELU_TANH},
               {"gelu_pytorch_tanh", ACTIVATION_GELU_TANH},
               {"quick_gelu", ACTIVATION_QUICK_GELU},
               {"silu", ACTIVATION_SILU},
               {"relu", ACTIVATION_RELU}};
  const char *name = "gelu";
  TRY(config_text(config, "hidden_act", &name));
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    *out_activation = known[i].activation;
    if (strcmp(known[i].name, name) == 0) return STATUS_OK;
  }
  return config_reject(config, "hidden_act", "gelu, gelu_new, gelu_pytorch_tanh, quick_gelu, silu or relu");
}
