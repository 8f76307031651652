/* vitc/model.h: what a compiled model gives to its host. Version 1 of the ABI.
 *
 * Stands alone: C11 or C++, needs only <stddef.h> and <stdint.h>. `vitc compile` copies this text into every header that it
 * writes, under the same include guard, so one compiled model's header needs no other file, and several of them, with or
 * without the runtime's headers, can be included together.
 *
 * A model is code and constants only: nothing in it is written to, allocated or registered. Any number of threads may run one
 * model at the same time, each with an arena of its own. */
#ifndef VITC_MODEL_H
#define VITC_MODEL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define VITC_ABI_VERSION 1u

/* What a run function returns. Nothing was written to the outputs unless it is VITC_OK. */
enum {
  VITC_OK = 0,
  VITC_E_NULL = 1,    /* a required pointer is NULL */
  VITC_E_BATCH = 2,   /* batch is 0 or larger than the model's batch_max */
  VITC_E_ALIGN = 3,   /* arena or external weights not aligned to 64 bytes, input or output not to its element */
  VITC_E_CPU = 4,     /* this CPU has none of the instruction sets that the model was compiled for */
  VITC_E_THREADS = 5, /* parallel->threads is 0 or larger than VITC_THREADS_MAX */
  VITC_E_ABI = 6      /* the host asked for another version of this ABI */
};

enum { VITC_ALIGNMENT = 64, VITC_THREADS_MAX = 256, VITC_IO_MAX = 8, VITC_RANK_MAX = 8 };

/* The host's own threads. run() calls task(context, i) once for each i in [0, count), on any threads and in any order, also one
 * after the other, and returns when all have returned. `threads` is how many can run at once: a model makes a few times as many
 * tasks of a loop, so that a thread that falls behind can leave some of its own to others. The result has the same bits for
 * every value. NULL in place of a vitc_parallel means the calling thread alone. */
typedef void (*vitc_task)(void *context, uint32_t index);

typedef struct vitc_parallel {
  void (*run)(void *pool, uint32_t count, vitc_task task, void *context);
  void *pool;
  uint32_t threads; /* 1 .. VITC_THREADS_MAX; plus VITC_AMX */
} vitc_parallel;

/* Added to vitc_parallel.threads: this process may use AMX's tile registers (vitc_cpu_request_amx of vitc/host.h said 1). */
#define VITC_AMX 0x80000000u

typedef enum vitc_dtype { VITC_F32 = 0, VITC_U8 = 1 } vitc_dtype;

/* Shape of one image's tensor; dim[0] is the batch axis, times the batch. Row-major, images one after the other. */
typedef struct vitc_tensor {
  const char *name;
  vitc_dtype dtype;
  uint32_t rank;
  int64_t dim[VITC_RANK_MAX];
  size_t image_bytes; /* of one image */
} vitc_tensor;

/* How an image becomes the model's input, as at training. Read by the runtime (vitc/image.h) and by generic hosts. */
typedef enum vitc_resize {
  VITC_RESIZE_UNKNOWN = 0,  /* the model says nothing of its preprocessing */
  VITC_RESIZE_NONE = 1,     /* pixels as they are */
  VITC_RESIZE_SHORTEST = 2, /* shortest edge becomes resize_height, aspect kept; where resize_width is another number and not 0,
                               the smallest image that covers resize_height x resize_width (timm, sizes that aren't square) */
  VITC_RESIZE_EXACT = 3,    /* resize_height x resize_width, aspect ignored */
  VITC_RESIZE_LONGEST = 4, /* the largest image within resize_height x resize_width, aspect kept (where they are one number, the
                              longest edge becomes it); edges rounded half up (SAM) */
  VITC_RESIZE_ASPECT = 5,  /* aspect kept, scaled by resize_height / height or resize_width / width, whichever is nearer to 1;
                              edges rounded half to even to whole steps (DPT with keep_aspect_ratio) */
  VITC_RESIZE_LIMITED = 6  /* aspect kept, shortest edge becomes resize_height, but the longest at most resize_width; edges then
                              cut down to whole steps (YOLOS) */
} vitc_resize;

typedef enum vitc_filter { VITC_NEAREST = 0, VITC_BILINEAR = 1, VITC_BICUBIC = 2, VITC_LANCZOS = 3 } vitc_filter;

typedef enum vitc_arithmetic {
  VITC_ARITHMETIC_TORCHVISION = 0,  /* float32: (v / 255 - mean) / std, as torchvision's ToTensor and Normalize (timm) */
  VITC_ARITHMETIC_TRANSFORMERS = 1, /* float32((float64 v * rescale)), then (x - mean) / std, as transformers' Pillow backend */
  VITC_ARITHMETIC_FLOAT = 2 /* float32 v * rescale before the resize, which is PyTorch's of floats, antialiased (bilinear or
                               bicubic); then (x - mean) / std, as transformers' DINOv3 */
} vitc_arithmetic;

/* What crop_height x crop_width is. */
typedef enum vitc_crop {
  VITC_CROP_HALF_EVEN = 0, /* a centre crop, its offset rounded half to even (torchvision); an image that is smaller is padded
                              around with zeros (before normalisation), of which the number before it is rounded down */
  VITC_CROP_FLOOR = 1,     /* the same, rounded down (transformers) and up */
  VITC_CROP_PAD = 2 /* no crop: the image is padded at the right and at the bottom with zeros after normalisation, and one
                       that is larger is an error. Only with VITC_RESIZE_LONGEST */
} vitc_crop;

typedef struct vitc_preprocess {
  uint32_t resize;     /* vitc_resize */
  uint32_t filter;     /* vitc_filter; Pillow's, antialiased, 8-bit */
  uint32_t arithmetic; /* vitc_arithmetic */
  uint32_t crop_floor; /* vitc_crop */
  uint32_t resize_height, resize_width;
  uint32_t crop_height, crop_width; /* 0: no crop, no padding. VITC_RESIZE_ASPECT and VITC_RESIZE_LIMITED have neither: there
                                       these are the steps of the edges, 0 or 1 for any */
  double rescale;                   /* usually 1 / 255 */
  double mean[3], std[3];           /* of red, green, blue, after rescaling */
} vitc_preprocess;

/* Everything of one call, for generic hosts. */
typedef struct vitc_args {
  const void *const *inputs; /* one per input tensor: batch images */
  void *const *outputs;      /* one per output tensor */
  uint32_t batch;
  void *arena;         /* arena_bytes, aligned to VITC_ALIGNMENT, contents don't matter */
  const void *weights; /* weights_bytes, aligned to VITC_ALIGNMENT, when the weights are external; else ignored */
  const vitc_parallel *parallel;
} vitc_args;

typedef struct vitc_model {
  uint32_t abi_version;
  uint32_t batch_max;
  uint32_t input_count, output_count;
  uint32_t label_count;
  uint32_t weights_external; /* 1: args.weights must point to the contents of the weights file */
  size_t arena_bytes;
  uint64_t weights_bytes;
  uint64_t weights_hash; /* FNV-1a over the weights' 64-bit little-endian words */
  const char *name;
  const char *precision; /* of the matrix products: "fp32", "bf16", "int8", "mixed" */
  const char *labels;    /* label_count NUL-terminated UTF-8 strings, one after the other; NULL without labels */
  const char *info;      /* JSON text: the compiler's account of nodes, fusions, FLOPs and the arena (vitc inspect) */
  vitc_tensor inputs[VITC_IO_MAX], outputs[VITC_IO_MAX];
  vitc_preprocess preprocess;
  int (*run)(const vitc_args *args);
} vitc_model;

#ifdef __cplusplus
}
#endif
#endif
