/* Arithmetic that the kernel stands on: IEEE single precision as integers, where the body has to give the bytes of its
 * reference whatever the processor, the compiler and its options; logarithm, power of two and root where the front and
 * the embedding are approximated.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef MYOSEM_NUMBERS_H
#define MYOSEM_NUMBERS_H

#include <stdint.h>

#define MYOSEM_LOG_FRACTION 20U /* bits after the point of a logarithm */

/* u8 means (q - zero) * step; step as the bits of a positive normal IEEE single. */
typedef struct {
    uint32_t step;
    int32_t zero;
} myosem_scale;

/* Each operation in single precision, rounded half to even, then to the nearest integer, half to even, within 0..255. */
uint8_t myosem_requantise(int32_t accumulator, uint32_t multiplier, int32_t zero);
uint8_t myosem_add(uint8_t a, const myosem_scale *a_scale, uint8_t b, const myosem_scale *b_scale,
                   const myosem_scale *out);

/* value / 2^by, rounded, half away from zero. by is 1..63. */
int64_t myosem_shift(int64_t value, uint32_t by);
int64_t myosem_clamp(int64_t value, int64_t limit);

uint32_t myosem_bit_length(uint64_t value);   /* 0 for 0 */
int32_t myosem_log2(uint64_t value);          /* Q20 of value >= 1, within 1.2e-5 */
uint32_t myosem_exp2_minus(uint32_t t_q16);   /* Q30 of 2^-t, within 4e-6 */
uint32_t myosem_root(uint64_t value);         /* largest integer whose square is not above */

#endif
