#include "resample.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2")))

/* A weight is high * 2^LOW_BITS + low, both of 16 bits, so that one instruction multiplies and adds two inputs. The sums of
 * both parts are exact, and so is the whole. */
enum { LOW_BITS = 11, LOW_MASK = (1 << LOW_BITS) - 1, HALF = 1 << (WEIGHT_BITS - 1) };

/* The parts of two weights as pairs of 16 bits. */
struct pair {
  int32_t high, low;
};

static inline struct pair pair_of(int32_t first, int32_t second) {
  uint32_t high = (uint32_t)(first >> LOW_BITS) & 0xffff, low = (uint32_t)(first & LOW_MASK);
  return (struct pair){(int32_t)(high | (uint32_t)(second >> LOW_BITS) << 16),
                       (int32_t)(low | (uint32_t)(second & LOW_MASK) << 16)};
}

struct sums {
  __m256i high, low;
};

AVX2 static inline struct sums add_pair(struct sums sums, __m256i inputs, struct pair pair) {
  sums.high = _mm256_add_epi32(sums.high, _mm256_madd_epi16(inputs, _mm256_set1_epi32(pair.high)));
  sums.low = _mm256_add_epi32(sums.low, _mm256_madd_epi16(inputs, _mm256_set1_epi32(pair.low)));
  return sums;
}

/* To values of 32 bits, not yet clipped below 0 and above 255. */
AVX2 static inline __m256i values_of(struct sums sums) {
  __m256i sum = _mm256_add_epi32(_mm256_slli_epi32(sums.high, LOW_BITS), sums.low);
  return _mm256_srai_epi32(_mm256_add_epi32(sum, _mm256_set1_epi32(HALF)), WEIGHT_BITS);
}

/* Two rows' eight bytes, of which six are two pixels, to pairs of 16 bits: red and red, green and green, blue and blue. */
AVX2 static inline __m256i pixel_pairs(const uint8_t *upper, const uint8_t *lower) {
  const __m256i order = _mm256_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, 0, -1, 3, -1, 1, -1, 4, -1,
                                         2, -1, 5, -1, -1, -1, -1, -1);
  __m128i first = _mm_loadl_epi64((const __m128i *)upper), second = _mm_loadl_epi64((const __m128i *)lower);
  return _mm256_shuffle_epi8(_mm256_inserti128_si256(_mm256_castsi128_si256(first), second, 1), order);
}

/* The three bytes at `out` of both rows. */
AVX2 static inline void store_pixels(__m256i values, uint8_t *upper, uint8_t *lower) {
  __m256i words = _mm256_packs_epi32(values, values), bytes = _mm256_packus_epi16(words, words);
  uint32_t first = (uint32_t)_mm_cvtsi128_si32(_mm256_castsi256_si128(bytes));
  uint32_t second = (uint32_t)_mm_cvtsi128_si32(_mm256_extracti128_si256(bytes, 1));
  memcpy(upper, &first, 3);
  memcpy(lower, &second, 3);
}

AVX2 static void two_rows(const uint8_t *upper, const uint8_t *lower, uint8_t *to_upper, uint8_t *to_lower,
                          const struct taps *taps) {
  for (uint32_t i = 0; i < taps->count; i++, to_upper += 3, to_lower += 3) {
    const int32_t *weights = taps->weights + i * taps->room;
    size_t at = (size_t)taps->start[i] * 3;
    uint32_t length = taps->length[i], t = 0;
    struct sums sums = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (; t + 2 <= length; t += 2, at += 6)
      sums = add_pair(sums, pixel_pairs(upper + at, lower + at), pair_of(weights[t], weights[t + 1]));
    if (t < length) sums = add_pair(sums, pixel_pairs(upper + at, lower + at), pair_of(weights[t], 0));
    store_pixels(values_of(sums), to_upper, to_lower);
  }
}

AVX2 uint32_t resample_horizontal_avx2(const struct horizontal_pass *pass, const struct taps *taps) {
  uint32_t last = taps->count - 1, y = 0;
  size_t touched = (size_t)(taps->start[last] + taps->length[last]) * 3 + 8, skip = (size_t)(taps->first - pass->left) * 3;
  for (; y + 2 <= pass->rows && (y + 1) * pass->stride + touched <= pass->readable; y += 2) {
    const uint8_t *from = pass->from + y * pass->stride;
    uint8_t *to = pass->to + (size_t)y * pass->width * 3 + skip;
    two_rows(from, from + pass->stride, to, to + (size_t)pass->width * 3, taps);
  }
  return y;
}

AVX2 size_t resample_vertical_avx2(const uint8_t *from, size_t stride, uint32_t count, const int32_t *weights, size_t bytes,
                                   uint8_t *to) {
  size_t at = 0;
  for (; at + 16 <= bytes; at += 16) {
    struct sums left = {_mm256_setzero_si256(), _mm256_setzero_si256()}, right = left;
    const uint8_t *row = from + at;
    for (uint32_t t = 0; t < count; t += 2, row += 2 * stride) {
      int pairs = t + 1 < count;
      struct pair pair = pair_of(weights[t], pairs ? weights[t + 1] : 0);
      __m128i first = _mm_loadu_si128((const __m128i *)row);
      __m128i second = _mm_loadu_si128((const __m128i *)(pairs ? row + stride : row));
      left = add_pair(left, _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(first, second)), pair);
      right = add_pair(right, _mm256_cvtepu8_epi16(_mm_unpackhi_epi8(first, second)), pair);
    }
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(values_of(left), values_of(right)), 0xd8);
    __m128i packed = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)(to + at), packed);
  }
  return at;
}
#endif
