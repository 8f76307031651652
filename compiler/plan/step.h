/* Building steps: shared by the files that know the ops. */
#ifndef VITC_PLAN_STEP_H
#define VITC_PLAN_STEP_H

#include "ir/ops.h"
#include "plan/planner.h"

void step_set_out(struct step *step, const struct view *out);
int step_add_input(struct step *step, const struct view *view);

/* Adds the elementwise op `fused` to the stages; `running` is the input that is the step's result. */
MUST_USE enum status step_add_stage(struct planner *p, struct step *step, const struct node *fused, int running);
/* An operand of the elementwise op `fused`. */
struct view step_operand(struct planner *p, const struct node *fused, const struct value *operand);
int step_running(const struct node *fused); /* the input that is NULL in a fused node */
MUST_USE enum status step_add_epilogue(struct planner *p, struct step *step, const struct node *node, int from);
/* Ends a node whose kernel takes no stages: the epilogue from `from` on is a step of its own over the result. */
MUST_USE enum status step_epilogue(struct planner *p, const struct node *node, const struct view *out, int from);

bool step_overlaps(const struct view *a, const struct view *b);
/* Whether the result may take over the memory of `candidate`, which dies here. */
bool step_fits(struct planner *p, const struct value *candidate, const struct value *result, struct view *out_view);
bool step_epilogue_reads_alike(struct planner *p, const struct node *node, const struct view *out);
/* Places the node's result, over a dying residual if one is in none of the `avoid` views. */
MUST_USE enum status step_place_result(struct planner *p, const struct node *node, const struct view *avoid, int avoid_count);
/* Makes `view` rows of adjacent columns, through a dense copy when it isn't. */
MUST_USE enum status step_as_matrix(struct planner *p, const struct node *node, const char *name, bool batched,
                                    struct view *view);

/* One function a kind of op. */
MUST_USE enum status product_steps(struct planner *p, const struct node *node);   /* MatMul */
MUST_USE enum status attention_steps(struct planner *p, const struct node *node); /* Attention */
MUST_USE enum status conv_steps(struct planner *p, const struct node *node);      /* Conv */
MUST_USE enum status rows_steps(struct planner *p, const struct node *node);      /* Softmax, LayerNormalization */
MUST_USE enum status rotary_steps(struct planner *p, const struct node *node);    /* RotaryEmbedding */
MUST_USE enum status reduce_steps(struct planner *p, const struct node *node);    /* ReduceMean */
MUST_USE enum status movement_steps(struct planner *p, const struct node *node);  /* Transpose, Reshape, Concat, .. */
MUST_USE enum status pad_steps(struct planner *p, const struct node *node);       /* Pad */
MUST_USE enum status elementwise_steps(struct planner *p, const struct node *node);

/* B of a MatMul that is packed once: a constant (k, n), or a Transpose of a constant (n, k); else NULL. */
const struct value *product_panels(const struct node *node, bool *out_transposed);

/* What the node's products are multiplied in. */
enum precision product_precision(const struct planner *p, const struct node *node);
enum precision attention_precision(const struct planner *p, const struct node *node); /* fp32 or bf16 */
bool attention_writes_operand(const struct node *node);

/* A step that makes operand rows of the matrix `view`, which it replaces. */
void step_convert(struct planner *p, const struct node *node, enum precision precision, struct view *view);

#endif
