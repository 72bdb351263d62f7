/* SPDX-License-Identifier: Apache-2.0 */
#include "myosem_front.h"

#include <stddef.h>
#include <string.h>

#include "myosem_front_arrays.h"
#include "myosem_numbers.h"

#define HISTORY_VALUES ((MYOSEM_TAPS - 1U) * MYOSEM_CHANNELS)
#define KERNEL_VALUES (MYOSEM_TAPS * MYOSEM_CHANNELS)
#define LOG_POWERS (2U * MYOSEM_MIXTURES) /* fast, then slow */
/* 1024 times the wearer's level in Q16. A power over all frames then stays below 2^63. */
#define LARGEST_SIGNAL ((int64_t)1 << 26)
#define LARGEST_FEATURE ((int64_t)1 << 30) /* Q16 of steps of the inlet, of which 255 matter */
#define ONE_Q16 65536

bool myosem_front_init(myosem_state *state, const myosem_fit *fit)
{
    bool valid = true;
    if (fit != NULL) {
        valid = fit->shift < MYOSEM_CHANNELS;
        for (uint32_t c = 0U; c < MYOSEM_CHANNELS; c++) {
            valid = valid && (fit->scale_q16[c] != 0U);
        }
    }
    if (valid) {
        (void)memset(state, 0, sizeof(*state));
        for (uint32_t c = 0U; c < MYOSEM_CHANNELS; c++) {
            const uint32_t turned = (c + ((fit != NULL) ? fit->shift : 0U)) % MYOSEM_CHANNELS;
            const bool mirrored = (fit != NULL) && fit->mirrored;
            const uint32_t scale = (fit != NULL) ? fit->scale_q16[turned] : MYOSEM_TYPICAL_SCALE_Q16;
            const uint32_t bits = myosem_bit_length(scale);
            state->source[c] = mirrored ? ((MYOSEM_CHANNELS - turned) % MYOSEM_CHANNELS) : turned;
            /* 2^(30 + bits) / scale has 31 bits, or is 2^31. */
            state->inverse[c] = (int64_t)((((uint64_t)1U << (30U + bits)) + (scale / 2U)) / scale);
            state->inverse_shift[c] = (MYOSEM_SIGNAL_FRACTION + bits) - 2U;
        }
    }
    return valid;
}

/* Direct form I: one wide accumulator, rounded once a section. The exporter bounds every signal by 2^30. */
static int32_t filtered(int32_t delays[MYOSEM_SECTIONS + 1U][2], int16_t sample)
{
    int32_t value = (int32_t)sample * ((int32_t)1 << MYOSEM_SIGNAL_FRACTION);
    for (uint32_t s = 0U; s < MYOSEM_SECTIONS; s++) {
        const int32_t *const b = biquads[s];
        const int64_t total = ((int64_t)b[0] * value) + ((int64_t)b[1] * delays[s][0]) +
                              ((int64_t)b[2] * delays[s][1]) - ((int64_t)b[3] * delays[s + 1U][0]) -
                              ((int64_t)b[4] * delays[s + 1U][1]);
        delays[s][1] = delays[s][0];
        delays[s][0] = value;
        value = (int32_t)myosem_shift(total, MYOSEM_BIQUAD_SHIFT);
    }
    delays[MYOSEM_SECTIONS][1] = delays[MYOSEM_SECTIONS][0];
    delays[MYOSEM_SECTIONS][0] = value;
    return value;
}

/* The new samples at the end of the line, and the sum of their squares per channel. */
static void take_samples(myosem_state *state, const int16_t *samples, uint64_t power[MYOSEM_CHANNELS])
{
    for (uint32_t c = 0U; c < MYOSEM_CHANNELS; c++) {
        power[c] = 0U;
        for (uint32_t t = 0U; t < MYOSEM_FRAME_SAMPLES; t++) {
            const int32_t raw = filtered(state->delays[c], samples[(t * MYOSEM_CHANNELS) + state->source[c]]);
            const int64_t scaled = myosem_shift(raw * state->inverse[c], state->inverse_shift[c]);
            const int64_t value = myosem_clamp(scaled, LARGEST_SIGNAL);
            state->line[HISTORY_VALUES + (t * MYOSEM_CHANNELS) + c] = (int32_t)value;
            power[c] += (uint64_t)(value * value);
        }
    }
}

/* Sum over the frame of the squares of one mixture of filtered channels. */
static uint64_t mixture_power(const int32_t *line, uint32_t mixture)
{
    uint64_t power = 0U;
    for (uint32_t t = 0U; t < MYOSEM_FRAME_SAMPLES; t++) {
        const int32_t *const window = &line[t * MYOSEM_CHANNELS];
        const int16_t *const weights = &kernel[mixture * KERNEL_VALUES];
        int64_t total = 0;
        for (uint32_t i = 0U; i < KERNEL_VALUES; i++) {
            total += (int64_t)window[i] * weights[i];
        }
        const int64_t value = myosem_clamp(myosem_shift(total, kernel_shift[mixture]), LARGEST_SIGNAL);
        power += (uint64_t)(value * value);
    }
    return power;
}

/* Base 2 of mean power plus floor. Means are sums here: how many they are of is in `floor` and `offset`. */
static int32_t log_power(uint64_t sum, uint64_t floor, int32_t offset)
{
    return myosem_log2(sum + floor) - offset;
}

static void mixture_logs(myosem_state *state, int32_t logs[LOG_POWERS])
{
    const uint32_t previous = state->newest_power;
    const uint32_t newest = (previous + 1U) % MYOSEM_POWER_FRAMES;
    const uint32_t leaving = ((newest + MYOSEM_POWER_FRAMES) - MYOSEM_SLOW_FRAMES) % MYOSEM_POWER_FRAMES;
    for (uint32_t m = 0U; m < MYOSEM_MIXTURES; m++) {
        const uint64_t power = mixture_power(state->line, m);
        const uint64_t fast = power + state->powers[previous][m];
        state->slow_power[m] = (state->slow_power[m] - state->powers[leaving][m]) + power;
        state->powers[newest][m] = power;
        logs[m] = log_power(fast, MYOSEM_FAST_FLOOR, MYOSEM_FAST_OFFSET);
        logs[MYOSEM_MIXTURES + m] = log_power(state->slow_power[m], MYOSEM_SLOW_FLOOR, MYOSEM_SLOW_OFFSET);
    }
    state->newest_power = newest;
}

/* weights . logs + bias in Q16. */
static int64_t affine(const int16_t *weights, const int32_t *logs, uint32_t count, uint32_t shift, int32_t bias)
{
    int64_t total = 0;
    for (uint32_t i = 0U; i < count; i++) {
        total += (int64_t)weights[i] * logs[i];
    }
    return myosem_clamp(myosem_shift(total, shift) + bias, LARGEST_FEATURE);
}

#if MYOSEM_GATED
/* 1 / (1 + 2^-t) in Q16 of t in Q16. */
static int64_t opening(int64_t t)
{
    const uint32_t power = myosem_exp2_minus((uint32_t)((t < 0) ? -t : t));
    const uint32_t open = UINT32_MAX / ((((uint32_t)1U << 30U) + power) >> 14U);
    return (t < 0) ? ((int64_t)ONE_Q16 - (int64_t)open) : (int64_t)open;
}
#endif

void myosem_front_step(myosem_state *state, const int16_t *samples, uint8_t *features)
{
    uint64_t channel_power[MYOSEM_CHANNELS];
    int32_t logs[LOG_POWERS];
#if MYOSEM_GATED
    int32_t channel_logs[MYOSEM_CHANNELS];
#endif

    take_samples(state, samples, channel_power);
    mixture_logs(state, logs);
#if MYOSEM_GATED
    for (uint32_t c = 0U; c < MYOSEM_CHANNELS; c++) {
        channel_logs[c] = log_power(channel_power[c] + state->channel_power[c], MYOSEM_FAST_FLOOR, MYOSEM_FAST_OFFSET);
        state->channel_power[c] = channel_power[c];
    }
#endif
    for (uint32_t w = 0U; w < MYOSEM_WIDTH; w++) {
        const int64_t value = affine(&expand[w * LOG_POWERS], logs, LOG_POWERS, MYOSEM_EXPAND_SHIFT, expand_bias[w]);
#if MYOSEM_GATED
        const int64_t open =
            opening(affine(&gate[w * MYOSEM_CHANNELS], channel_logs, MYOSEM_CHANNELS, MYOSEM_GATE_SHIFT, gate_bias[w]));
#else
        const int64_t open = ONE_Q16;
#endif
        const int64_t q = myosem_shift(value * open, 32U) + MYOSEM_INLET_ZERO;
        features[w] = (uint8_t)((q < 0) ? 0 : ((q > 255) ? 255 : q));
    }
    /* The newest samples to the front, a frame at a time, so that no part overlaps its target. */
    for (uint32_t i = 0U; i < HISTORY_VALUES; i += MYOSEM_FRAME_VALUES) {
        const uint32_t left = HISTORY_VALUES - i;
        const uint32_t count = (left < MYOSEM_FRAME_VALUES) ? left : MYOSEM_FRAME_VALUES;
        (void)memcpy(&state->line[i], &state->line[i + MYOSEM_FRAME_VALUES], count * sizeof(state->line[0]));
    }
}
