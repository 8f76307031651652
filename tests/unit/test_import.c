/* The ViT importers: names and specs, drawn weights, resampled tables, and the graph that comes out. Outputs are compared with
 * timm's and transformers' own in tests/reference/import.py. */
#include "ir/ops.h"
#include "json/json.h"
#include "vit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct arena arena;
static struct weights weights;
static struct graph graph;
static struct diag diag;

static void begin(void) {
  arena_init(&arena);
  diag = (struct diag){0};
  weights = (struct weights){0};
}

static void end(void) {
  weights_close(&weights);
  arena_deinit(&arena);
}

TestSuite(import, .init = begin, .fini = end);

Test(import, arch_names) {
  static const struct {
    const char *name;
    int family;
    int64_t dim, depth, heads, mlp, patch, image, classes, pre_logits;
    bool distilled;
  } cases[] = {
      {"vit_tiny_patch16_224", FAMILY_timm, 192, 12, 3, 768, 16, 224, 1000, 0, false},
      {"vit_small_patch32_384", FAMILY_timm, 384, 12, 6, 1536, 32, 384, 1000, 0, false},
      {"vit_base_patch16_224.augreg_in21k_ft_in1k", FAMILY_timm, 768, 12, 12, 3072, 16, 224, 1000, 0, false},
      {"vit_base_patch16_224.augreg_in21k", FAMILY_timm, 768, 12, 12, 3072, 16, 224, 21843, 0, false},
      {"vit_huge_patch14_224_in21k", FAMILY_timm, 1280, 32, 16, 5120, 14, 224, 21843, 1280, false},
      {"vit_large_patch16_224_in21k", FAMILY_timm, 1024, 24, 16, 4096, 16, 224, 21843, 1024, false},
      {"deit_base_distilled_patch16_384", FAMILY_timm, 768, 12, 12, 3072, 16, 384, 1000, 0, true},
      {"deit_small_patch16_224", FAMILY_timm, 384, 12, 6, 1536, 16, 224, 1000, 0, false},
      {"vit_little_patch16_reg4_gap_256.sbb_in1k", FAMILY_timm, 320, 14, 5, 1792, 16, 256, 1000, 0, false},
      {"vit_small_patch16_36x1_224", FAMILY_timm, 384, 36, 6, 1536, 16, 224, 1000, 0, false},
      {"vit_mediumd_patch16_reg4_gap_384", FAMILY_timm, 512, 20, 8, 2048, 16, 384, 1000, 0, false},
      {"vit_base_patch16_gap_224", FAMILY_timm, 768, 12, 16, 3072, 16, 224, 1000, 0, false},
      {"vit_base_patch16_224_miil.in21k_ft_in1k", FAMILY_timm, 768, 12, 12, 3072, 16, 224, 1000, 0, false},
      {"vit_so150m2_patch16_reg1_gap_448", FAMILY_timm, 832, 21, 13, 2176, 16, 448, 1000, 0, false},
      {"vit_huge_patch14_gap_224.in1k_ijepa", FAMILY_timm, 1280, 32, 16, 5120, 14, 224, 0, 0, false},
      {"vit_giant_patch16_gap_224", FAMILY_timm, 1408, 40, 16, 6144, 16, 224, 0, 0, false},
      {"vit_so400m_patch14_reg1_tipsv2", FAMILY_timm, 1152, 27, 16, 4304, 14, 448, 0, 0, false},
      {"vit_giant_patch14_reg1_tipsv2", FAMILY_timm, 1536, 40, 24, 4096, 14, 448, 0, 0, false},
      {"flexivit_large", FAMILY_timm, 1024, 24, 16, 4096, 16, 240, 1000, 0, false},
      {"vit_l_32", FAMILY_torchvision, 1024, 24, 16, 4096, 32, 224, 1000, 0, false},
      {"vit_h_14", FAMILY_torchvision, 1280, 32, 16, 5120, 14, 224, 1000, 0, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct vit_config config;
    cr_assert_eq(arch_parse(cases[i].name, &arena, &config, &diag), STATUS_OK, "%s: %s", cases[i].name, diag.message);
    cr_expect_eq(config.family, &families[cases[i].family]);
    cr_expect_eq(config.dim, cases[i].dim);
    cr_expect_eq(config.depth, cases[i].depth);
    cr_expect_eq(config.heads, cases[i].heads);
    cr_expect_eq(config.mlp, cases[i].mlp);
    cr_expect_eq(config.patch_height, cases[i].patch);
    cr_expect_eq(config.image_width, cases[i].image);
    cr_expect_eq(config.classes, cases[i].classes);
    cr_expect_eq(config.pre_logits, cases[i].pre_logits);
    cr_expect_eq(config.distilled, cases[i].distilled);
    cr_expect_eq(config.head_dim * config.heads, config.dim);
  }
}

/* As timm 1.0 builds them. */
Test(import, arch_styles) {
  static const struct {
    const char *name;
    int64_t dim, heads, mlp, image, registers, classes;
    double epsilon;
    enum activation activation;
    enum pooling pool;
    bool embed_class, pre_norm, gated;
  } cases[] = {
      {"vit_base_patch14_dinov2.lvd142m", 768, 12, 3072, 518, 0, 0, 0, ACTIVATION_GELU, POOL_TOKEN, true, false, false},
      {"vit_small_patch14_reg4_dinov2", 384, 6, 1536, 518, 4, 0, 0, ACTIVATION_GELU, POOL_TOKEN, false, false, false},
      {"vit_giant_patch14_reg4_dinov2", 1536, 24, 4096, 518, 4, 0, 0, ACTIVATION_SILU, POOL_TOKEN, false, false, true},
      {"vit_giant_patch14_clip_224", 1408, 16, 6144, 224, 0, 1000, 1e-5, ACTIVATION_GELU, POOL_TOKEN, true, true, false},
      {"vit_large_patch14_clip_quickgelu_336.openai", 1024, 16, 4096, 336, 0, 1000, 1e-5, ACTIVATION_QUICK_GELU, POOL_TOKEN,
       true, true, false},
      {"vit_base_patch16_siglip_224", 768, 12, 3072, 224, 0, 0, 0, ACTIVATION_GELU, POOL_MAP, true, false, false},
      {"vit_so400m_patch14_siglip_384", 1152, 16, 4304, 384, 0, 0, 0, ACTIVATION_GELU, POOL_MAP, true, false, false},
      {"vit_so400m_patch16_siglip_gap_512", 1152, 16, 4304, 512, 0, 0, 0, ACTIVATION_GELU_TANH, POOL_MEAN, true, false, false},
      {"vit_large_patch16_siglip_512.v2_webli", 1024, 16, 4096, 512, 0, 0, 0, ACTIVATION_GELU_TANH, POOL_MAP, true, false,
       false},
      {"deit3_large_patch16_384", 1024, 16, 4096, 384, 0, 1000, 0, ACTIVATION_GELU, POOL_TOKEN, false, false, false},
      {"beit_base_patch16_224.in22k_ft_in22k", 768, 12, 3072, 224, 0, 1000, 0, ACTIVATION_GELU, POOL_MEAN, true, false, false},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    struct vit_config config;
    cr_assert_eq(arch_parse(cases[i].name, &arena, &config, &diag), STATUS_OK, "%s: %s", cases[i].name, diag.message);
    cr_expect(config.dim == cases[i].dim && config.heads == cases[i].heads && config.mlp == cases[i].mlp, "%s", cases[i].name);
    cr_expect(config.image_height == cases[i].image && config.registers == cases[i].registers, "%s", cases[i].name);
    cr_expect(config.classes == cases[i].classes && config.epsilon == cases[i].epsilon, "%s", cases[i].name);
    cr_expect(config.activation == cases[i].activation && config.pool == cases[i].pool, "%s", cases[i].name);
    cr_expect(config.embed_class == cases[i].embed_class && config.pre_norm == cases[i].pre_norm, "%s", cases[i].name);
    cr_expect(config.gated == cases[i].gated, "%s", cases[i].name);
  }
}

Test(import, names_that_are_none) {
  static const char *const names[] = {"",
                                      "vit_tiny_patch16",
                                      "vit_tiny_patch16_224x",
                                      "vit_b_16_224",
                                      "vit_b_",
                                      "vit_b_0",
                                      "vit_tiny_patch0_224",
                                      "vit_tiny_patch16_0",
                                      "vit",
                                      "resnet50",
                                      "vit_tiny_patch16_224.",
                                      "vit_tiny_patch99999999999999999999_224",
                                      "vit_base_patch16_dinov3",
                                      "vit_base_patch16_clip",
                                      "vit_tiny_patch14_dinov2",
                                      "beit_base_patch16",
                                      "vit_b_16.tag",
                                      "vit_medium_patch16_gap",
                                      "vit_medium_patch16_gap_0",
                                      "vit_medium_patch16_gap_99999999",
                                      "flexivit_small_240",
                                      "flexivit_small."};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    struct vit_config config;
    struct diag own = {0};
    cr_expect_eq(arch_parse(names[i], &arena, &config, &own), STATUS_USAGE, "%s", names[i]);
    cr_expect(strstr(own.message, "unknown arch"), "%s: %s", names[i], own.message);
  }
}

/* What an unknown name is near to is a name that exists. */
Test(import, near_names) {
  static const char *const names[] = {"vit_xsmall_patch16_224",       "vit_bas_patch16_224",
                                      "vit_so400m_patch14_224",       "vit_b_17x",
                                      "vit_mediumd_patch16_reg4_gap", "flexivit_smal"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    struct vit_config config;
    struct diag own = {0};
    cr_assert_eq(arch_parse(names[i], &arena, &config, &own), STATUS_USAGE, "%s", names[i]);
    char near[64];
    const char *at = strstr(own.message, "(near to ");
    cr_assert_not_null(at, "%s", own.message);
    cr_assert_eq(sscanf(at, "(near to %63[a-z0-9_])", near), 1, "%s", own.message);
    cr_expect_eq(arch_parse(near, &arena, &config, &own), STATUS_OK, "%s", near);
  }
}

Test(import, spec) {
  struct vit_config config;
  cr_assert_eq(arch_parse("vit:dim=100,depth=2,heads=5,mlp=333,patch=8x16,image=32x48,classes=10,pool=mean,qkv_bias=0,"
                          "pre_logits=64,qk_scale=0.25,family=transformers",
                          &arena, &config, &diag),
               STATUS_OK, "%s", diag.message);
  cr_expect(config.dim == 100 && config.depth == 2 && config.heads == 5 && config.head_dim == 20 && config.mlp == 333);
  cr_expect(config.patch_height == 8 && config.patch_width == 16 && config.image_height == 32 && config.image_width == 48);
  cr_expect(config.pool == POOL_MEAN && config.norm && !config.pooled_norm && !config.qkv_bias && config.qkv_bias_given);
  cr_expect(config.pre_logits == 64 && config.classes == 10 && config.classes_given);
  cr_expect_float_eq(config.scale, 0.25, 0);
  cr_expect_eq(config.family, &families[FAMILY_transformers]);
  /* timm normalises after a mean, and has the keys for it */
  cr_assert_eq(arch_parse("vit:dim=128,pool=mean", &arena, &config, &diag), STATUS_OK, "%s", diag.message);
  cr_expect(config.pooled_norm && !config.norm && config.heads == 2 && config.mlp == 512);
}

/* Mean and variance of each role, within six standard errors, and independence of the key and the seed. */
Test(import, drawn_weights) {
  enum { COUNT = 1 << 18, FAN_IN = 64 };
  static const struct {
    enum tensor_role role;
    double mean, deviation;
  } cases[] = {{ROLE_WEIGHT, 0, 0.125}, {ROLE_BIAS, 0, 0.2}, {ROLE_GAIN, 1, 0.2}, {ROLE_TABLE, 0, 0.5}};
  float *a = arena_array(&arena, COUNT, sizeof *a), *b = arena_array(&arena, COUNT, sizeof *b);
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    double sum = 0, squares = 0;
    random_tensor(a, COUNT, 7, "blocks.0.norm1.weight", cases[i].role, FAN_IN);
    for (int j = 0; j < COUNT; j++) {
      sum += (double)a[j];
      squares += ((double)a[j] - cases[i].mean) * ((double)a[j] - cases[i].mean);
    }
    cr_expect_float_eq(sum / (double)COUNT, cases[i].mean, 6 * cases[i].deviation / sqrt(COUNT));
    cr_expect_float_eq(sqrt(squares / (double)COUNT) / cases[i].deviation, 1, 6 / sqrt(COUNT));
  }
  random_tensor(b, COUNT, 7, "blocks.0.norm1.weight", ROLE_TABLE, 1);
  cr_expect_arr_eq(a, b, COUNT * sizeof *a);
  for (int other = 0; other < 2; other++) {
    double product = 0;
    random_tensor(b, COUNT, other ? 8 : 7, other ? "blocks.0.norm1.weight" : "blocks.1.norm1.weight", ROLE_TABLE, 1);
    for (int j = 0; j < COUNT; j++) product += (double)a[j] * (double)b[j];
    cr_expect_float_eq(product / (double)COUNT / 0.25, 0, 6 / sqrt(COUNT));
  }
}

/* A cubic filter keeps constants everywhere and straight lines away from the edges; the same size changes nothing. */
Test(import, position_table_closed_forms) {
  enum { HEIGHT = 12, WIDTH = 9, DIM = 2, PREFIX = 2, OUT_HEIGHT = 30, OUT_WIDTH = 18 };
  static float table[(PREFIX + HEIGHT * WIDTH) * DIM], same[sizeof table / sizeof *table];
  static float larger[(PREFIX + OUT_HEIGHT * OUT_WIDTH) * DIM];
  for (int i = 0; i < PREFIX * DIM; i++) table[i] = (float)(i + 100);
  for (int y = 0; y < HEIGHT; y++)
    for (int x = 0; x < WIDTH; x++) {
      float *at = table + (PREFIX + y * WIDTH + x) * DIM;
      at[0] = 3.5f;
      at[1] = (float)(2 * y - 5 * x);
    }
  for (int dialect = RESAMPLE_PLAIN; dialect <= RESAMPLE_ALIGN_CORNERS; dialect++) {
    position_resample(table, PREFIX, HEIGHT, WIDTH, DIM, same, HEIGHT, WIDTH, (enum resample)dialect);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) cr_expect_float_eq(same[i], table[i], 1e-5);
    position_resample(table, PREFIX, HEIGHT, WIDTH, DIM, larger, OUT_HEIGHT, OUT_WIDTH, (enum resample)dialect);
    cr_expect_arr_eq(larger, table, PREFIX * DIM * sizeof *table);
    for (int y = 0; y < OUT_HEIGHT; y++)
      for (int x = 0; x < OUT_WIDTH; x++) {
        const float *at = larger + (PREFIX + y * OUT_WIDTH + x) * DIM;
        cr_expect_float_eq(at[0], 3.5, 1e-5);
        if (y < 6 || y >= OUT_HEIGHT - 6 || x < 5 || x >= OUT_WIDTH - 5) continue;
        bool corners = dialect == RESAMPLE_ALIGN_CORNERS;
        double from_y = corners ? y * 11.0 / 29 : (y + 0.5) * 12 / 30 - 0.5,
               from_x = corners ? x * 8.0 / 17 : (x + 0.5) / 2 - 0.5;
        /* a = -0.75 is not exact on lines; its largest error on one of slope 1 is 0.0482. */
        double slack = dialect == RESAMPLE_ANTIALIAS ? 1e-4 : 0.0482 * 7;
        cr_expect_float_eq(at[1], 2 * from_y - 5 * from_x, slack, "%d: %d %d: %g", dialect, y, x, (double)at[1]);
      }
  }
}

static int count_op(enum op op) {
  int count = 0;
  for (const struct node *node = graph.first; node; node = node->next) count += node->op == op;
  return count;
}

static enum status import_random(const char *arch, int height, int width, int classes) {
  struct import_options options = {
      .arch = arch, .image_height = height, .image_width = width, .num_classes = classes, .init_random = true, .seed = 1};
  return frontend_import(NULL, &options, &arena, &weights, &graph, &diag);
}

Test(import, graph_of_a_distilled_model) {
  cr_assert_eq(import_random("deit_tiny_distilled_patch16_224", 64, 96, 9), STATUS_OK, "%s", diag.message);
  cr_expect_str_eq(graph.inputs[0]->name, "input");
  cr_expect_str_eq(graph.outputs[0]->name, "logits");
  cr_expect_eq(graph.outputs[0]->shape.dim[1], 9);
  cr_expect_eq(graph.inputs[0]->shape.dim[3], 96);
  cr_expect_eq(graph_find(&graph, "pos_embed")->shape.dim[1], 2 + 4 * 6);
  cr_expect_eq(count_op(OP_attention), 12);
  cr_expect_eq(count_op(OP_split), 12);
  cr_expect_eq(count_op(OP_gelu), 12);
  cr_expect_eq(count_op(OP_gemm), 2);
  cr_expect_eq(count_op(OP_layer_normalization), 25);
  cr_expect_eq(graph.preprocess.crop_width, 96);
}

Test(import, features_end_at_the_pooled_token) {
  cr_assert_eq(import_random("vit_b_32", 0, 0, 0), STATUS_OK, "%s", diag.message);
  cr_expect_str_eq(graph.outputs[0]->name, "features");
  cr_expect_eq(graph.outputs[0]->shape.dim[1], 768);
  cr_expect_eq(count_op(OP_gemm), 0);
}

static enum status import_outputs(const char *arch, const char *const *outputs, int count) {
  struct import_options options = {
      .arch = arch, .num_classes = -1, .init_random = true, .seed = 1, .outputs = outputs, .output_count = count};
  return frontend_import(NULL, &options, &arena, &weights, &graph, &diag);
}

Test(import, outputs_by_name) {
  static const char *const outputs[] = {"tokens", "attention:1", "features", "blocks.0.residual2"};
  cr_assert_eq(import_outputs("vit:dim=64,depth=2,heads=4,patch=8,image=32,classes=3", outputs, 4), STATUS_OK, "%s",
               diag.message);
  cr_assert_eq(graph.output_count, 4);
  cr_expect_str_eq(graph.outputs[1]->name, "attention_1");
  cr_expect(graph.outputs[1]->shape.rank == 4 && graph.outputs[1]->shape.dim[1] == 4 && graph.outputs[1]->shape.dim[3] == 17);
  cr_expect_eq(graph.outputs[0]->shape.dim[1], 17);
  cr_expect_eq(count_op(OP_gemm), 0, "the head is needed by nobody");
  cr_expect_eq(count_op(OP_softmax), 1);
  cr_expect_null(graph_find(&graph, "head.weight"));
}

Test(import, outputs_that_are_none) {
  static const char *const outputs[] = {"logit", "attention:2", "head.weight", "input"};
  for (int i = 0; i < 4; i++) {
    diag = (struct diag){0};
    weights_close(&weights);
    cr_expect_eq(import_outputs("vit:dim=64,depth=2,heads=4,patch=8,image=32,classes=3", &outputs[i], 1), STATUS_USAGE);
    cr_expect(strstr(diag.message, outputs[i]) && strstr(diag.message, "logits, features, tokens"), "%s", diag.message);
  }
}

Test(import, one_value_by_two_names) {
  static const char *const outputs[] = {"features", "features"};
  cr_assert_eq(import_outputs("vit:dim=64,depth=1,heads=4,patch=8,image=32,classes=0", outputs, 2), STATUS_OK, "%s",
               diag.message);
  cr_expect_eq(graph.output_count, 2);
  cr_expect_neq(graph.outputs[0], graph.outputs[1]);
  cr_expect_str_neq(graph.outputs[0]->name, graph.outputs[1]->name);
}

Test(import, relative_positions_are_made_for_another_grid) {
  cr_assert_eq(import_random("beit_base_patch16_224", 64, 96, 0), STATUS_OK, "%s", diag.message);
  const struct value *table = graph_find(&graph, "blocks.0.attn.relative_position_bias_table");
  cr_assert_not_null(table);
  cr_expect(table->shape.dim[0] == 7 * 11 + 3 && table->shape.dim[1] == 12);
  cr_expect_eq(graph_find(&graph, "relative_position_index")->shape.dim[0], 25 * 25);
  cr_expect_eq(count_op(OP_attention), 12);
  cr_expect_str_eq(graph.outputs[0]->name, "features");
}

Test(import, heads_and_widths_of_any_size) {
  cr_assert_eq(
      import_random("vit:dim=30,heads=3,head_dim=7,depth=1,mlp=11,patch=5,image=15x20,classes=2,family=transformers", 0, 0, -1),
      STATUS_OK, "%s", diag.message);
  cr_expect_str_eq(graph.inputs[0]->name, "pixel_values");
  cr_expect_eq(count_op(OP_split), 0);
  const struct value *query = graph_find(&graph, "vit.encoder.layer.0.attention.attention.query.weight");
  cr_assert_not_null(query);
  cr_expect(query->shape.dim[0] == 21 && query->shape.dim[1] == 30);
}

/* Weights that are float32 in the file are used where they are mapped. */
Test(import, state_dict_is_borrowed) {
  char folder[] = "/tmp/vitc_import_XXXXXX";
  cr_assert_not_null(mkdtemp(folder));
  const char *json = arena_printf(&arena, "%s/m.json", folder), *blob = arena_printf(&arena, "%s/m.safetensors", folder);
  cr_assert_eq(import_random("vit:dim=64,depth=1,patch=8,image=16,classes=3", 0, 0, -1), STATUS_OK, "%s", diag.message);
  cr_assert_eq(json_write(&graph, json, &diag), STATUS_OK, "%s", diag.message);
  weights_close(&weights);
  struct import_options options = {.arch = "vit:dim=64,depth=1,patch=8,image=16", .num_classes = -1};
  cr_assert_eq(frontend_import(blob, &options, &arena, &weights, &graph, &diag), STATUS_OK, "%s", diag.message);
  cr_expect_eq(graph.outputs[0]->shape.dim[1], 3);
  static const char *const names[] = {"blocks.0.attn.qkv.weight", "head.bias", "pos_embed"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    const uint8_t *data = graph_find(&graph, names[i])->data;
    cr_expect(data >= weights.files[0].data && data < weights.files[0].data + weights.files[0].size, "%s is a copy", names[i]);
  }
  unlink(json);
  unlink(blob);
  rmdir(folder);
}

Test(import, sizes_that_do_not_fit) {
  cr_expect_eq(import_random("vit_tiny_patch16_224", 100, 96, -1), STATUS_USAGE);
  cr_expect(strstr(diag.message, "100x96") && strstr(diag.message, "16"), "%s", diag.message);
}

Test(import, random_takes_no_source) {
  struct import_options options = {.num_classes = -1, .init_random = true};
  cr_expect_eq(frontend_import(NULL, &options, &arena, &weights, &graph, &diag), STATUS_USAGE);
  cr_expect(strstr(diag.message, "--arch"), "%s", diag.message);
}
