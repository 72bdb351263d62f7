/* SPDX-License-Identifier: Apache-2.0 */
#include "myosem_numbers.h"

#include <stdbool.h>

#include "myosem_tables.h"

#define MANTISSA_BITS 24U
#define SINGLE_BIAS 150 /* of the exponent of an IEEE single, for a mantissa that is an integer */
#define FAR_APART 38    /* exponents: the lower number is then far below half a unit of the higher one's last place */
#define QUOTIENT_STEPS 4U
#define QUOTIENT_STEP_BITS 7U /* the rest of a division by 24 bits then stays within 31 */

/* mantissa * 2^exponent, |mantissa| <= 2^24: what a normal IEEE single can be. */
typedef struct {
    int32_t mantissa;
    int32_t exponent;
} real;

static uint64_t magnitude_of(int64_t value)
{
    return (value < 0) ? (uint64_t)(-value) : (uint64_t)value;
}

static uint32_t half_even(uint64_t value, uint32_t drop)
{
    const uint64_t half = ((uint64_t)1U << drop) >> 1U;
    const uint64_t rest = value & (((uint64_t)1U << drop) - 1U);
    const uint32_t kept = (uint32_t)(value >> drop);
    const bool up = (rest > half) || ((rest == half) && ((kept & 1U) != 0U));
    return kept + (((drop != 0U) && up) ? 1U : 0U);
}

/* value * 2^exponent in single precision. */
static real rounded(int64_t value, int32_t exponent)
{
    real result = {(int32_t)value, exponent};
    const uint64_t magnitude = magnitude_of(value);
    if ((magnitude >> MANTISSA_BITS) != 0U) {
        const uint32_t drop = myosem_bit_length(magnitude) - MANTISSA_BITS;
        const int32_t mantissa = (int32_t)half_even(magnitude, drop);
        result.mantissa = (value < 0) ? -mantissa : mantissa;
        result.exponent = exponent + (int32_t)drop;
    }
    return result;
}

static uint32_t single_mantissa(uint32_t single)
{
    return (single & 0x007FFFFFU) | 0x00800000U;
}

static int32_t single_exponent(uint32_t single)
{
    return (int32_t)(single >> 23U) - SINGLE_BIAS;
}

static real multiply(int32_t integer, uint32_t single)
{
    const real factor = rounded(integer, 0);
    const int64_t product = (int64_t)factor.mantissa * (int32_t)single_mantissa(single);
    return rounded(product, factor.exponent + single_exponent(single));
}

static real add(real a, real b)
{
    const real high = (a.exponent >= b.exponent) ? a : b;
    const real low = (a.exponent >= b.exponent) ? b : a;
    const int32_t apart = high.exponent - low.exponent;
    real sum;
    if (high.mantissa == 0) {
        sum = low;
    } else if (apart > FAR_APART) {
        sum = high;
    } else {
        sum = rounded(((int64_t)high.mantissa * ((int64_t)1 << apart)) + low.mantissa, low.exponent);
    }
    return sum;
}

static real divide(real dividend, uint32_t single)
{
    const uint32_t divisor = single_mantissa(single);
    uint32_t quotient = 0U;
    uint32_t rest = (uint32_t)magnitude_of(dividend.mantissa);
    for (uint32_t step = 0U; step < QUOTIENT_STEPS; step++) {
        rest <<= QUOTIENT_STEP_BITS;
        quotient = (quotient << QUOTIENT_STEP_BITS) + (rest / divisor);
        rest %= divisor;
    }
    /* 28 bits or 29: the last of them can stand for whatever rest there is. */
    const int64_t sticky = (int64_t)(quotient | ((rest != 0U) ? 1U : 0U));
    return rounded((dividend.mantissa < 0) ? -sticky : sticky,
                   dividend.exponent - (int32_t)(QUOTIENT_STEPS * QUOTIENT_STEP_BITS) - single_exponent(single));
}

static uint8_t to_u8(real value, int32_t zero)
{
    const uint32_t magnitude = (uint32_t)magnitude_of(value.mantissa);
    uint32_t whole = 0U;
    if (value.exponent >= 0) {
        /* Six places to the left are far beyond 255 for 24 bits; zero stays zero. */
        whole = magnitude << ((value.exponent < 6) ? (uint32_t)value.exponent : 6U);
    } else if (value.exponent > -32) {
        whole = half_even(magnitude, (uint32_t)(-value.exponent));
    } else {
        /* below one half */
    }
    const int32_t q = ((value.mantissa < 0) ? -(int32_t)whole : (int32_t)whole) + zero;
    return (uint8_t)((q < 0) ? 0 : ((q > 255) ? 255 : q));
}

uint8_t myosem_requantise(int32_t accumulator, uint32_t multiplier, int32_t zero)
{
    return to_u8(multiply(accumulator, multiplier), zero);
}

uint8_t myosem_add(uint8_t a, const myosem_scale *a_scale, uint8_t b, const myosem_scale *b_scale,
                   const myosem_scale *out)
{
    const real a_real = multiply((int32_t)a - a_scale->zero, a_scale->step);
    const real b_real = multiply((int32_t)b - b_scale->zero, b_scale->step);
    return to_u8(divide(add(a_real, b_real), out->step), out->zero);
}

int64_t myosem_shift(int64_t value, uint32_t by)
{
    const uint64_t result = (magnitude_of(value) + ((uint64_t)1U << (by - 1U))) >> by;
    return (value < 0) ? -(int64_t)result : (int64_t)result;
}

int64_t myosem_clamp(int64_t value, int64_t limit)
{
    int64_t result = value;
    if (value > limit) {
        result = limit;
    } else if (value < -limit) {
        result = -limit;
    } else {
        /* within range */
    }
    return result;
}

uint32_t myosem_bit_length(uint64_t value)
{
#if defined(__GNUC__) && !defined(MYOSEM_PORTABLE)
    return (value == 0U) ? 0U : (64U - (uint32_t)__builtin_clzll(value)); /* an instruction or two */
#else
    uint64_t rest = value;
    uint32_t bits = 0U;
    for (uint32_t step = 32U; step != 0U; step >>= 1U) {
        if ((rest >> step) != 0U) {
            rest >>= step;
            bits += step;
        }
    }
    return bits + (uint32_t)rest;
#endif
}

/* Between two entries of a table in Q30, `part` of 2^part_bits from the first to the second. */
static uint32_t between(const uint32_t *entry, uint32_t part, uint32_t part_bits)
{
    const int64_t rise = (int64_t)entry[1] - (int64_t)entry[0];
    return (uint32_t)((int64_t)entry[0] + myosem_shift(rise * (int64_t)part, part_bits));
}

int32_t myosem_log2(uint64_t value)
{
    const uint32_t whole = myosem_bit_length(value) - 1U;
    /* The leading one becomes bit 31; the next 7 bits choose the entry. */
    const uint32_t mantissa = (uint32_t)((whole > 31U) ? (value >> (whole - 31U)) : (value << (31U - whole)));
    const uint32_t fraction = between(&myosem_log2_table[(mantissa >> 24U) & 127U], mantissa & 0x00FFFFFFU, 24U);
    return (int32_t)((whole << MYOSEM_LOG_FRACTION) + ((fraction + 512U) >> 10U));
}

uint32_t myosem_exp2_minus(uint32_t t_q16)
{
    const uint32_t whole = t_q16 >> 16U;
    const uint32_t value = between(&myosem_exp2_table[(t_q16 >> 9U) & 127U], t_q16 & 511U, 9U);
    return (whole > 30U) ? 0U : (value >> whole);
}

uint32_t myosem_root(uint64_t value)
{
    uint64_t root = 0U;
    for (uint64_t bit = (uint64_t)1U << 31U; bit != 0U; bit >>= 1U) {
        const uint64_t larger = root | bit;
        if ((larger * larger) <= value) {
            root = larger;
        }
    }
    return (uint32_t)root;
}
